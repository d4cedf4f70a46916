"""Any table that is written by csv, json or pyarrow is read back the same."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sources import opened, read

# CSV has no way to write a row of one empty field, and a lone carriage return is an end of line.
_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), max_size=30)
_rows = st.lists(st.tuples(_texts, _texts), min_size=1, max_size=20)
_settings = settings(max_examples=60, deadline=None)


def _read(name: str, write: object, rows: list[tuple[str, str]], **form: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        write(file, rows)  # type: ignore[operator]
        assert read(opened(file, **form), ["a", "b"]) == (rows, [])


@_settings
@given(rows=_rows, delimiter=st.sampled_from(",;\t|"))
def test_csv(rows: list[tuple[str, str]], delimiter: str) -> None:
    def write(file: Path, rows: list[tuple[str, str]]) -> None:
        with file.open("w", encoding="utf-8", newline="") as output:
            writer = csv.writer(output, delimiter=delimiter, quoting=csv.QUOTE_ALL)
            writer.writerows([("a", "b"), *rows])

    _read("a.csv", write, rows, delimiter=delimiter, encoding="utf-8")


@_settings
@given(rows=_rows, ascii_only=st.booleans())
def test_json_lines(rows: list[tuple[str, str]], ascii_only: bool) -> None:
    def write(file: Path, rows: list[tuple[str, str]]) -> None:
        lines = [json.dumps({"a": a, "b": b}, ensure_ascii=ascii_only) for a, b in rows]
        file.write_text("\n".join(lines), encoding="utf-8", newline="")

    _read("a.jsonl", write, rows, encoding="utf-8")


@_settings
@given(rows=_rows, group=st.integers(1, 20))
def test_parquet(rows: list[tuple[str, str]], group: int) -> None:
    def write(file: Path, rows: list[tuple[str, str]]) -> None:
        table = pa.table({"a": [a for a, _ in rows], "b": [b for _, b in rows]})
        pq.write_table(table, file, row_group_size=group)

    _read("a.parquet", write, rows)
