"""What people see of results."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest
from rich.console import Console

from labelmill.cli.report import results_table, write_json
from labelmill.core.states import Status
from labelmill.db.records import Record
from tests.support.rows import a_result

NOW = datetime(2026, 1, 2, tzinfo=UTC)
JOB_ID = "01a1fdf3-8db5-7be2-aa1f-2ba709320498"


def a_record(**changes: object) -> Record:
    scores = [{"label": "billing", "score": 0.75}, {"label": "returns", "score": 0.25}]
    usual = {"label": "billing", "score": 0.75, "scores": scores, "finished_at": NOW}
    return Record(a_result(JOB_ID, **usual | changes), "a text [with] brackets\nand lines")


def shown(record: Record, width: int) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(results_table([record], width))
    output = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, output.splitlines())) <= width
    return str(output)


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_ids_scores_and_errors_can_be_read_at_any_width(width: int) -> None:
    row = shown(a_record(), width)
    assert JOB_ID in row
    assert "0.7500" in row
    assert "returns 0.25" in row
    failed = a_record(
        status=Status.FAILED, score=None, error_code="image_forbidden", error_message="not allowed"
    )
    assert "image_forbidden" in shown(failed, width)
    assert "not allowed" in shown(failed, width)


def test_json_has_every_column_and_the_input() -> None:
    lines = io.StringIO()
    write_json([a_record()], lines)
    fields = json.loads(lines.getvalue())
    assert fields["input"] == "a text [with] brackets\nand lines"
    assert fields["finished_at"] == "2026-01-02T00:00:00+00:00"


@pytest.mark.parametrize("width", [80, 120])
def test_enough_of_an_input_can_be_read_at_any_width(width: int) -> None:
    text = "The parcel that I ordered weeks ago never came, "
    row = shown(Record(a_record().result, f"{text}\x1b[31m\n" + "x" * 500), width)
    assert "The parcel that I ordered" in row
    assert "\x1b" not in row
    assert "…" in row
    assert len(row.splitlines()) <= 9
