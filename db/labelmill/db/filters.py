"""Which results are meant: by their columns, and by what their jobs were about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, or_

from labelmill.core.states import Status
from labelmill.core.text import storable_text
from labelmill.db.tables import jobs, results

MAX_SEARCH_LENGTH = 1000
"""Characters of a text that is searched for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFilter:
    """Results that are wanted; None stands for any.

    Attributes:
        min_score: of the first label, inclusive, as is ``max_score``.
        since: finished at this time or later; aware.
        until: finished before this time; aware.
        text: a part of the job's text or of its image's name or uri, whatever the case; or a
            job's id.

    Raises:
        ValueError: if a time has no zone, or the text is longer than ``MAX_SEARCH_LENGTH``.
    """

    run_id: str | None = None
    model: str | None = None
    label: str | None = None
    status: Status | None = None
    error_code: str | None = None
    min_score: float | None = None
    max_score: float | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        for moment in (self.since, self.until):
            if moment is not None and moment.tzinfo is None:
                raise ValueError(f"a time zone is needed: {moment.isoformat()} has none")
        if self.text is not None and len(self.text) > MAX_SEARCH_LENGTH:
            raise ValueError(f"a text to search for has at most {MAX_SEARCH_LENGTH:,} characters")


def by_columns(wanted: ResultFilter) -> Iterator[ColumnElement[bool]]:
    """The conditions on the table of results itself: all but ``text``."""
    equal = {
        results.c.run_id: wanted.run_id,
        results.c.model: wanted.model,
        results.c.label: wanted.label,
        results.c.error_code: wanted.error_code,
    }
    for column, value in equal.items():
        if value is not None:
            yield column == storable_text(value)
    if wanted.status is not None:
        yield results.c.status == wanted.status
    if wanted.min_score is not None:
        yield results.c.score >= wanted.min_score
    if wanted.max_score is not None:
        yield results.c.score <= wanted.max_score
    if wanted.since is not None:
        yield results.c.finished_at >= wanted.since
    if wanted.until is not None:
        yield results.c.finished_at < wanted.until


def job_input() -> ColumnElement[str | None]:
    """What a job was about, out of its payload: its text, or its image's name or else uri.

    NULL for an inline image without a name.
    """
    return func.coalesce(*_inputs())


def _searched() -> ColumnElement[str | None]:
    text, name, uri = _inputs()
    return func.coalesce(text, name + "\n" + uri, name, uri)


def _inputs() -> list[ColumnElement[str | None]]:
    return [
        jobs.c.payload[path].as_string()
        for path in (("text",), ("image", "name"), ("image", "uri"))
    ]


def mentions(text: str, dialect: str) -> ColumnElement[bool]:
    """Whether a result is of a job of that id, or whose input has the text in it.

    Jobs have to be joined to the results. Which characters are the same but for their case is
    said by the pattern: what the databases think of it depends on their locale, or ends at ASCII.
    """
    text = storable_text(text)
    if dialect == "postgresql":
        found = _searched().regexp_match("".join(map(_in_regular_expression, text)))
    else:
        found = _searched().op("GLOB")("*" + "".join(map(_in_glob, text)) + "*")
    return or_(results.c.id == text, found)


def _cases(character: str) -> str:
    forms = (character, character.lower(), character.upper(), character.title())
    return "".join(dict.fromkeys(form for form in forms if len(form) == 1))


def _in_glob(character: str) -> str:
    cases = _cases(character)
    return f"[{cases}]" if len(cases) > 1 or character in "*?[" else character


def _in_regular_expression(character: str) -> str:
    cases = _cases(character)
    if len(cases) > 1:
        return f"[{cases}]"
    return f"\\{character}" if character.isascii() and not character.isalnum() else character
