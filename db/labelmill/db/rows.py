"""Rows on their way into the database.

A group of jobs is one transaction, so whatever the database would refuse in one row would take
the others with it. Here every row is brought into a form that both databases accept, or refused
before anything is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any, TypeAlias

from sqlalchemy import Column, Double, Enum, Integer, String, Table, Text

from labelmill.core.ids import MAX_ID_LENGTH
from labelmill.core.job import SubmittedJob
from labelmill.core.json import JsonValue
from labelmill.core.result import LabelScore, Result
from labelmill.core.states import Status
from labelmill.core.text import storable_text
from labelmill.db import tables
from labelmill.db.tables import UTCDateTime, names_of

Row: TypeAlias = dict[str, Any]
"""A row as both databases accept it, by the columns' names."""


def due(sent_at: datetime, eta: datetime | None) -> datetime:
    """From when on a job is missed that was sent at ``sent_at``."""
    return sent_at if eta is None else max(sent_at, eta)


def storable_name(text: str) -> str:
    """The text as :func:`storable_text` returns it, for an indexed column.

    Raises:
        ValueError: if it is longer than ``MAX_ID_LENGTH``.
    """
    if len(text) > MAX_ID_LENGTH:
        raise ValueError(f"longer than {MAX_ID_LENGTH} characters: {text[:40]!r}…")
    return storable_text(text)


def storable_results(results: Iterable[Result]) -> list[Row]:
    """The rows as both databases accept them: sorted by id, the first of each id.

    Sorted, because two transactions that insert the same ids in different orders wait for each
    other, and PostgreSQL ends one of them.

    Raises:
        ValueError: if a number is not finite, a name is too long or a time has no zone.
    """
    forms = _forms(tables.results)
    return _first_of_each_id([_stored(forms, result.values) for result in results])


def storable_jobs(jobs: Iterable[SubmittedJob]) -> list[Row]:
    """As :func:`storable_results`, with the time from which on each job is due."""
    forms = _forms(tables.jobs)
    values = attrgetter(*(name for name, _ in forms if name != "due_at"))
    return _first_of_each_id(
        [_stored(forms, (*values(job), due(job.enqueued_at, job.eta))) for job in jobs]
    )


def storable_record(table: Table, record: Sequence[Any]) -> Row:
    """The record of a table whose columns are its fields; raises as :func:`storable_results`."""
    return _stored(_forms(table), record)


_Forms: TypeAlias = list[tuple[str, Callable[[Any], Any]]]


def _stored(forms: _Forms, values: Sequence[Any]) -> Row:
    return {name: form(value) for (name, form), value in zip(forms, values, strict=True)}


def _first_of_each_id(rows: list[Row]) -> list[Row]:
    # Backwards, so that the first is the one that stays.
    unique = {row["id"]: row for row in reversed(rows)}
    return [unique[each] for each in sorted(unique)]


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError(f"not a finite number: {number}")
    return number


def _zoned(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"a time zone is needed: {moment!r} has none")
    return moment


def _json(value: JsonValue | Mapping[str, JsonValue]) -> JsonValue:
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, float):
        return _finite(value)
    if isinstance(value, list):
        return [_json(item) for item in value]
    if isinstance(value, dict | Mapping):
        return {storable_text(key): _json(item) for key, item in value.items()}
    return value


def _scores(scores: list[LabelScore]) -> list[LabelScore]:
    return [
        {"label": storable_text(each["label"]), "score": _finite(each["score"])} for each in scores
    ]


def _as_it_is(value: Any) -> Any:
    return value


@cache
def _forms(table: Table) -> _Forms:
    """For each column of a table how a value is brought into a form that both databases accept."""
    return [
        (name, _optional(_form(column)) if column.nullable else _form(column))
        for name, column in zip(names_of(table), table.columns, strict=True)
    ]


def _optional(form: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else form(value)


def _form(column: Column[Any]) -> Callable[[Any], Any]:
    match column.type:
        case Enum():
            return Status
        case Text():
            return storable_text
        case String():
            return storable_name
        case Double():
            return _finite
        case UTCDateTime():
            return _zoned
        case Integer():
            return _as_it_is
        case _:
            # Scores are in nearly every row: as any JSON, a group takes nearly twice as long.
            return _scores if column.name == "scores" else _json
