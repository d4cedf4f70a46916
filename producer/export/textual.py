"""CSV and JSON lines."""

from __future__ import annotations

import csv
import json
from datetime import date, datetime, time
from typing import IO, Any

from producer.export.columns import Export

_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"


def write_jsonl(export: Export, output: IO[str]) -> int:
    """Write one JSON object a line; returns how many.

    What JSON cannot hold (times, decimals) is written as text, bytes as hexadecimal digits.
    """
    names = export.names
    encode = json.JSONEncoder(ensure_ascii=False, default=_as_text).encode
    count = 0
    for row in export.rows:
        output.write(encode(dict(zip(names, row, strict=True))) + "\n")
        count += 1
    return count


def write_csv(export: Export, output: IO[str], *, spreadsheet: bool = False) -> int:
    """Write CSV with a header, and lists and objects in it as JSON; returns how many rows.

    Parameters:
        output: opened without newline translation.
        spreadsheet: begin with a byte order mark, by which Excel knows UTF-8, and put an
            apostrophe before text that a spreadsheet would take for a formula.
    """
    minimal = csv.writer(output, lineterminator="\n")
    # The other writer leaves a lone carriage return bare, and readers take it for a row's end.
    quoting = csv.writer(output, lineterminator="\n", quoting=csv.QUOTE_ALL)
    if spreadsheet:
        output.write(_BYTE_ORDER_MARK)
    cell = _spreadsheet_cell if spreadsheet else _cell
    count = -1
    for row in _with_header(export):
        cells = [cell(value) for value in row]
        has_return = any(type(each) is str and "\r" in each for each in cells)
        (quoting if has_return else minimal).writerow(cells)
        count += 1
    return count


def _with_header(export: Export) -> Any:
    yield export.names
    yield from export.rows


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, str | float | int):
        return value
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=_as_text)
    return _as_text(value)


def _spreadsheet_cell(value: Any) -> Any:
    cell = _cell(value)
    if isinstance(cell, str) and cell.startswith(_STARTS_A_FORMULA):
        return f"'{cell}"
    return cell


def _as_text(value: Any) -> str:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
