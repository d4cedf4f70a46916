"""JSON lines: an object a line, with fields in fields."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from labelmill.core.errors import SourceError
from labelmill.sources.base import Column, Format, Source
from labelmill.sources.columns import kind_of
from labelmill.sources.compression import READ_ERRORS
from labelmill.sources.lines import broken_off, too_long
from labelmill.sources.location import Location
from labelmill.sources.rows import Item, Reason, Reject, Row
from labelmill.sources.text import Text

_SAMPLED = 200  # objects
_DEEPEST = 8  # fields in fields that are listed as columns

_Problem = tuple[Reason, str]
_MISSING = object()


class JsonLines(Source):
    """A file of objects. A column is a field, or a path to one such as ``data.text``."""

    def __init__(self, location: Location, form: Format) -> None:
        super().__init__(location.name)
        self.location = location
        self._text = Text(location, form, self.reading)

    def columns(self) -> Sequence[Column]:
        """The fields of the first objects that hold a value of their own."""
        values: dict[str, list[object]] = {}
        lines = [line for line in self._text.first_lines("\n") if line.strip()]
        for line in lines[:_SAMPLED]:
            found = _parse(line)
            if isinstance(found, dict):
                for path, value in _leaves(found):
                    values.setdefault(path, []).append(value)
        if note := self._text.encoding.note:
            self.notes = [note]
        if lines and not values:
            hint = (
                "; make lines of an array with jq -c '.[]'"
                if lines[0].lstrip().startswith("[")
                else ""
            )
            raise SourceError(f"the first lines of {self.name} are no JSON objects{hint}")
        return [Column(path, kind_of(some)) for path, some in values.items()]

    def rows(self, wanted: Sequence[str]) -> Iterator[Item]:
        """Each object; empty lines are passed over."""
        paths = [(path, path.split(".")) for path in wanted]
        number = 0
        try:
            for line in self._text.lines("\n"):
                text = line.text
                if text.isspace():
                    continue
                number += 1
                if line.cut:
                    yield Reject(number, line.number, Reason.TOO_LARGE, too_long())
                    continue
                found = _parse(text)
                if not isinstance(found, dict):
                    yield Reject(number, line.number, *found)
                    continue
                values = tuple([_value(found, path, parts) for path, parts in paths])
                if _MISSING in values:
                    name = wanted[values.index(_MISSING)]
                    why = f"it has no field {name!r}"
                    yield Reject(number, line.number, Reason.MISSING_COLUMN, why)
                else:
                    yield Row(number, line.number, values)
        except READ_ERRORS as error:
            yield broken_off(number + 1, error)

    def image(self, value: str) -> str:
        """Relative to the file."""
        return self.location.sibling(value)


def _parse(line: str) -> dict[str, Any] | _Problem:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else "a number is too long"
        if isinstance(error, json.JSONDecodeError):
            why = error.msg
        return Reason.NOT_JSON, f"it is no JSON: {why}"
    if isinstance(found, dict):
        return found
    return Reason.NOT_JSON, "it is no JSON object"


def _value(found: Mapping[str, Any], path: str, parts: Sequence[str]) -> object:
    """The value at a path; a field whose own name has the dots goes first."""
    if path in found:
        return found[path]
    value: object = found
    for part in parts:
        if not isinstance(value, dict) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _leaves(
    found: Mapping[str, Any], before: str = "", depth: int = 0
) -> Iterator[tuple[str, Any]]:
    for name, value in found.items():
        if isinstance(value, dict) and depth < _DEEPEST:
            yield from _leaves(value, f"{before}{name}.", depth + 1)
        elif not isinstance(value, list | dict):
            yield f"{before}{name}", value
