"""What is written is what is read back, whatever stands in it."""

from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelmill.cli.moments import parse_moment
from labelmill.core.errors import ConfigurationError
from labelmill.core.states import Status
from labelmill.db.records import Record
from labelmill.export.columns import RESULT_COLUMNS, Export, distinct_names, export_of
from labelmill.export.output import ExportFailed, OutputFormat, format_of, opened_output
from labelmill.export.textual import write_csv, write_jsonl
from labelmill.export.write import write_rows
from tests.support.rows import a_result

NOW = datetime(2026, 5, 17, 12, 0, 0, 123456, tzinfo=UTC)
NASTY = [
    "=1+1",
    "-3 degrees",
    "@someone",
    "quotes \" and ' and , and ;",
    "two\nlines\r\nand a lone\rreturn",
    "nul \x00 in it",
    "<script>alert(1)</script>",
    "🙂 Ünïcode \u2028 separators",
    " spaces ",
    "x" * 130_000,
    "",
]


def a_record(id: str = "a", about: str = "a text", **changes: Any) -> Record:
    usual = {
        "run_id": "r",
        "label": "praise",
        "score": 0.1 + 0.2,
        "scores": [{"label": "praise", "score": 0.1 + 0.2}, {"label": "a,b", "score": 1e-9}],
        "finished_at": NOW,
    }
    return Record(a_result(id, **usual | changes), about)


def an_export(records: list[Record]) -> Export:
    return export_of(records)


NASTY_RECORDS = [
    a_record(f"{number}", about=text, label=text, error_message=text)
    for number, text in enumerate(NASTY)
]


def test_csv_is_read_back_as_it_was() -> None:
    output = io.StringIO(newline="")
    assert write_csv(an_export(NASTY_RECORDS), output) == len(NASTY)
    rows = list(csv.DictReader(io.StringIO(output.getvalue(), newline="")))
    assert [row["input"] for row in rows] == NASTY
    assert [row["label"] for row in rows] == NASTY
    assert tuple(rows[0]) == RESULT_COLUMNS
    assert float(rows[0]["score"]) == 0.1 + 0.2
    assert json.loads(rows[0]["scores"])[1] == {"label": "a,b", "score": 1e-9}
    assert datetime.fromisoformat(rows[0]["finished_at"]) == NOW
    assert rows[0]["enqueued_at"] == ""
    assert rows[0]["status"] == "succeeded"


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_any_text_survives_csv_and_jsonl(rows: list[tuple[str, str]]) -> None:
    table, lines = io.StringIO(newline=""), io.StringIO(newline="")
    write_csv(Export(("a", "b"), (), rows), table)
    write_jsonl(Export(("a", "b"), (), rows), lines)
    assert list(csv.reader(io.StringIO(table.getvalue(), newline="")))[1:] == [*map(list, rows)]
    assert [tuple(json.loads(each).values()) for each in lines.getvalue().split("\n")[:-1]] == rows


CELLS = st.none() | st.text(st.characters(exclude_characters="\r")) | st.integers() | st.floats()


@given(st.lists(st.tuples(CELLS, CELLS), max_size=5))
def test_csv_without_carriage_returns_is_what_the_standard_library_writes(
    rows: list[tuple[Any, Any]],
) -> None:
    ours, theirs = io.StringIO(newline=""), io.StringIO(newline="")
    write_csv(Export(("a", "b"), (), rows), ours)
    csv.writer(theirs, lineterminator="\n").writerows([("a", "b"), *rows])
    assert ours.getvalue() == theirs.getvalue()


def test_for_spreadsheets_no_cell_is_a_formula() -> None:
    output = io.StringIO(newline="")
    write_csv(an_export([*NASTY_RECORDS, a_record(score=-0.5)]), output, spreadsheet=True)
    content = output.getvalue()
    assert content.startswith("\ufeff")
    rows = list(csv.DictReader(io.StringIO(content[1:], newline="")))
    assert [row["input"] for row in rows][:3] == ["'=1+1", "'-3 degrees", "'@someone"]
    assert not any(row["input"].startswith(("=", "+", "-", "@")) for row in rows)
    assert rows[-1]["score"] == "-0.5"


def test_jsonl_has_a_line_for_each_and_keeps_types() -> None:
    output = io.StringIO(newline="")
    write_jsonl(an_export(NASTY_RECORDS), output)
    rows = [json.loads(line) for line in output.getvalue().split("\n")[:-1]]
    assert [row["input"] for row in rows] == NASTY
    assert rows[0]["scores"] == NASTY_RECORDS[0].result.scores
    assert rows[0]["finished_at"] == NOW.isoformat()
    assert rows[0]["error_code"] is None


def test_parquet_has_types_and_is_read_back_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    assert write_rows(an_export(NASTY_RECORDS), OutputFormat.PARQUET, str(file)) == len(NASTY)
    table = pq.read_table(file)
    assert table.column_names == list(RESULT_COLUMNS)
    assert table["input"].to_pylist() == NASTY
    assert table["label"].to_pylist() == NASTY
    assert table["scores"].to_pylist() == [each.result.scores for each in NASTY_RECORDS]
    assert table["finished_at"].to_pylist() == [NOW] * len(NASTY)
    assert table.schema.field("finished_at").type == pa.timestamp("us", tz="UTC")
    for name in ("label", "model", "status"):
        assert pa.types.is_dictionary(table.schema.field(name).type), name
    assert table.schema.field("scores").type.value_type.field("score").type == pa.float64()


def test_parquet_of_nothing_and_of_failures_only_has_the_same_schema(tmp_path: Path) -> None:
    failure = a_record(status=Status.FAILED, label=None, score=None, scores=None)
    for name, records in {"none": [], "some": [failure]}.items():
        write_rows(an_export(records), OutputFormat.PARQUET, str(tmp_path / name))
    nothing, failures = (pq.read_table(tmp_path / name) for name in ("none", "some"))
    assert nothing.schema == failures.schema
    assert (len(nothing), len(failures)) == (0, 1)


def test_columns_of_a_source_become_strings_in_parquet(tmp_path: Path) -> None:
    file = str(tmp_path / "a.parquet")
    rows = [("text", 1), ({"a": [1]}, None), (True, "\ud800")]
    write_rows(Export(("x", "y"), (), rows), OutputFormat.PARQUET, file)
    assert pq.read_table(file).to_pydict() == {
        "x": ["text", '{"a": [1]}', "true"],
        "y": ["1", None, "?"],
    }


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_suffix_compresses(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"a.jsonl{suffix}"
    write_rows(an_export(NASTY_RECORDS), OutputFormat.JSONL, str(file))
    if suffix == ".gz":
        content = gzip.decompress(file.read_bytes())
    else:
        with pa.CompressedInputStream(pa.OSFile(str(file)), "zstd") as stream:
            content = stream.read()
    assert content.count(b"\n") == len(NASTY)


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("what was there")

    def break_off() -> Any:
        yield a_record()
        assert file.read_text() == "what was there"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_rows(Export((), RESULT_COLUMNS, break_off()), OutputFormat.CSV, str(file))
    assert [each.name for each in tmp_path.iterdir()] == ["a.csv"]
    assert file.read_text() == "what was there"


def test_a_url_of_fsspec_can_be_written_to() -> None:
    import fsspec

    write_rows(an_export([a_record()]), OutputFormat.CSV, "memory://exports/a.csv.gz")
    content = fsspec.filesystem("memory").cat("/exports/a.csv.gz")
    assert gzip.decompress(content).startswith(b"id,")
    assert len(fsspec.filesystem("memory").ls("/exports")) == 1


def test_what_cannot_be_written_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a folder"), opened_output(str(tmp_path)):
        pass
    missing = tmp_path / "none" / "a.csv"
    with pytest.raises(ExportFailed, match=r"a\.csv cannot be written: No such file"):
        write_rows(an_export([]), OutputFormat.CSV, str(missing))
    with pytest.raises(ConfigurationError, match="no way to write to nonsense://"):
        write_rows(an_export([]), OutputFormat.CSV, "nonsense://user:secret@host/a.csv")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", OutputFormat.CSV),
        ("s3://b/c.d/A.CSV.GZ", OutputFormat.CSV),
        ("x/a.b.jsonl.zst", OutputFormat.JSONL),
        ("a.parquet", OutputFormat.PARQUET),
        ("a.html", OutputFormat.HTML),
    ],
)
def test_the_name_says_the_format(name: str, expected: OutputFormat) -> None:
    assert format_of(name) is expected


@pytest.mark.parametrize("name", ["a", "a.gz", "a.txt", "csv", "a.parquet.gz"])
def test_a_name_that_does_not_say_it_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError):
        format_of(name)


def test_names_are_distinct() -> None:
    source = ("id", "text", "label", "source_label", "text")
    assert distinct_names(source, ("id", "label", "score")) == (
        "source_id",
        "text",
        "source_label",
        "source_source_label",
        "source_text",
    )


def test_moments_are_dates_times_and_spans() -> None:
    assert parse_moment("2026-05-17T12:00:00+02:00") == datetime(2026, 5, 17, 10, tzinfo=UTC)
    assert parse_moment("1.5h", NOW) == NOW.replace(hour=10, minute=30)
    assert parse_moment("2026-05-17").tzinfo is UTC
    for nonsense in ("", "yesterday", "-3h", "9999999999w"):
        with pytest.raises(ConfigurationError):
            parse_moment(nonsense)
