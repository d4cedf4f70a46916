"""CSV and JSON lines, made of a column of some rows at a time: most need nothing done to them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from functools import lru_cache
from typing import IO, Any

from labelmill.core.result import LabelScore
from labelmill.core.states import Status
from labelmill.export.columns import Export

_LABELS_KEPT = 10_000
_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"

_NOTHING = type(None)
_TEXTS = frozenset({str, Status, _NOTHING})
_MOMENTS = frozenset({datetime, _NOTHING})
_NUMBERS = frozenset({int, float, _NOTHING})
_INFINITY = float("inf")
_NEEDS_QUOTES = re.compile('[,"\n\r]').search

_Column = Sequence[Any]


def write_jsonl(export: Export, output: IO[str]) -> int:
    """Write one JSON object a line; returns how many.

    What JSON cannot hold (times, decimals) is written as text, bytes as hexadecimal digits.
    """
    names = (_json(name).replace("%", "%%") for name in export.names)
    line = "{" + ", ".join(f"{name}: %s" for name in names) + "}\n"
    count = 0
    for columns in export.blocks():
        texts = _converted(columns, export.scores_place, _json_values, _scores_value)
        output.writelines(map(line.__mod__, zip(*texts, strict=True)))
        count += len(columns[0])
    return count


def write_csv(export: Export, output: IO[str], *, spreadsheet: bool = False) -> int:
    """Write CSV with a header, and lists and objects in it as JSON; returns how many rows.

    Parameters:
        output: opened without newline translation.
        spreadsheet: begin with a byte order mark, by which Excel knows UTF-8, and put an
            apostrophe before text that a spreadsheet would take for a formula.
    """
    convert = _spreadsheet_fields if spreadsheet else _fields
    line = ",".join(["%s"] * len(export.names)) + "\n"
    if spreadsheet:
        output.write(_BYTE_ORDER_MARK)
    _write_lines(line, [convert([name]) for name in export.names], output)
    count = 0
    for columns in export.blocks():
        _write_lines(line, _converted(columns, export.scores_place, convert, _scores_field), output)
        count += len(columns[0])
    return count


def _converted(
    columns: Sequence[_Column],
    scores_place: int | None,
    convert: Callable[[_Column], Sequence[str]],
    of_scores: Callable[[Sequence[LabelScore] | None], str],
) -> list[Sequence[str]]:
    return [
        [of_scores(value) for value in column] if place == scores_place else convert(column)
        for place, column in enumerate(columns)
    ]


def _write_lines(line: str, columns: Sequence[Sequence[str]], output: IO[str]) -> None:
    text = "".join(map(line.__mod__, zip(*columns, strict=True)))
    if "\r" in text:
        text = "".join(line % tuple(_guarded(row)) for row in zip(*columns, strict=True))
    output.write(text)


def _guarded(fields: Sequence[str]) -> Sequence[str]:
    # Readers take a carriage return for a row's end where not all fields around it are quoted.
    if not any("\r" in each for each in fields):
        return fields
    return [each if each.startswith('"') else f'"{each}"' for each in fields]


def _fields(column: _Column) -> Sequence[str]:
    kinds = set(map(type, column))
    if kinds <= _TEXTS or kinds <= _MOMENTS:
        return _each_once(column, _field, nothing="")
    if kinds <= _NUMBERS:
        return ["" if value is None else repr(value) for value in column]
    return ["" if value is None else _field(value) for value in column]


def _spreadsheet_fields(column: _Column) -> Sequence[str]:
    return _fields(
        [
            f"'{text}"
            if not isinstance(value, int | float)
            and (text := _plain(value)).startswith(_STARTS_A_FORMULA)
            else value
            for value in column
        ]
    )


def _field(value: Any) -> str:
    text = _plain(value)
    return _quoted(text) if _NEEDS_QUOTES(text) else text


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple | dict):
        return _json(value)
    return "" if value is None else _as_text(value)


def _scores_field(scores: Sequence[LabelScore] | None) -> str:
    return "" if scores is None else _quoted(_scores(scores))


def _scores_value(scores: Sequence[LabelScore] | None) -> str:
    return "null" if scores is None else _scores(scores)


def _json_values(column: _Column) -> Sequence[str]:
    kinds = set(map(type, column))
    if kinds <= _TEXTS or kinds <= _MOMENTS:
        return _each_once(column, _json, nothing="null")
    if kinds <= _NUMBERS:
        return ["null" if value is None else _number(value) for value in column]
    return [_json(value) for value in column]


def _number(value: float) -> str:
    return repr(value) if -_INFINITY < value < _INFINITY else _json(value)


def _each_once(column: _Column, convert: Callable[[Any], str], *, nothing: str) -> Sequence[str]:
    texts = {value: nothing if value is None else convert(value) for value in set(column)}
    return [texts[value] for value in column]


def _scores(scores: Sequence[LabelScore]) -> str:
    """As ``_json`` would write them, in a third of the time."""
    each = [
        f'{{"label": {_label(one["label"])}, "score": {_number(one["score"])}}}' for one in scores
    ]
    return f"[{', '.join(each)}]"


def _as_text(value: Any) -> str:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


_json = json.JSONEncoder(ensure_ascii=False, default=_as_text).encode
_label = lru_cache(_LABELS_KEPT)(_json)
