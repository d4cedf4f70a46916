"""Results beside the rows that they came from, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from labelmill.core.errors import ConfigurationError, SourceError
from labelmill.core.result import Result
from labelmill.core.run import Run
from labelmill.core.states import Status
from labelmill.db.database import Database
from labelmill.db.filters import ResultFilter
from labelmill.export.columns import Export
from labelmill.export.join import Rows, joined, with_results
from labelmill.export.output import OutputFormat
from labelmill.export.truth import Evaluation, count_truths, evaluate
from labelmill.export.write import write_rows
from labelmill.sources.base import Format, Kind
from labelmill.sources.columns import ColumnMapping
from labelmill.sources.ids import row_id
from labelmill.sources.plan import Plan
from tests.support import rows

NOW = datetime(2026, 5, 17, 12, tzinfo=UTC)
CSV = 'ticket,body,label\nt1,one,cat\nt2,"two\nlines",dog\nt3,,cat\nt4,four,dog\nt5,five,\n'


def a_result(job_id: str, label: str | None, run: str = "r", score: float = 0.5) -> Result:
    if label is None:
        return rows.a_result(
            job_id, run_id=run, error_code="model_failed", error_message="it raised"
        )
    return rows.a_result(job_id, run_id=run, label=label, score=score)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "messages.csv"
    path.write_text(CSV)
    return path


def rows_of(file: Path, id_column: str | None = None) -> Rows:
    return Rows.of_files("r", [str(file)], Format(), id_column)


def records(export: Export) -> list[dict[str, object]]:
    return [dict(zip(export.names, row, strict=True)) for row in export.rows]


def test_every_row_is_there_in_order_with_its_result_or_without(
    database: Database, file: Path
) -> None:
    database.results.write(
        [a_result(row_id("r", 2), "dog"), a_result(row_id("r", 1), "cat"), a_result("r:x", "cat")]
    )
    database.results.write([a_result(row_id("r", 4), None)])
    found = records(joined(rows_of(file), database.results, ResultFilter(), only_finished=False))
    assert [each["row"] for each in found] == [1, 2, 3, 4, 5]
    assert [each["body"] for each in found] == ["one", "two\nlines", "", "four", "five"]
    assert [each["label"] for each in found] == ["cat", "dog", None, None, None]
    assert [each["source_label"] for each in found] == ["cat", "dog", "cat", "dog", ""]
    assert [each["status"] for each in found] == ["succeeded", "succeeded", None, "failed", None]


def test_a_row_of_which_no_job_could_be_made_says_so(database: Database, file: Path) -> None:
    plan = Plan(sources=(str(file),), chosen=ColumnMapping(content="body", kind=Kind.TEXT))
    run = Run(id="r", model="m", source=str(file), plan=plan.to_json(), created_at=NOW)
    export = joined(Rows.of_run(run), database.results, ResultFilter(), only_finished=False)
    found = [(each["status"], each["error_code"]) for each in records(export)]
    assert found == [(None, None), (None, None), ("rejected", "empty"), (None, None), (None, None)]


@pytest.mark.parametrize(
    ("wanted", "only_finished", "expected"),
    [
        (ResultFilter(run_id="r"), True, [1, 2, 4]),
        (ResultFilter(label="dog"), False, [2]),
        (ResultFilter(status=Status.FAILED), False, [4]),
        (ResultFilter(run_id="r"), False, [1, 2, 3, 4, 5]),
    ],
)
def test_a_filter_leaves_rows_with_such_results(
    wanted: ResultFilter, only_finished: bool, expected: list[int], database: Database, file: Path
) -> None:
    database.results.write(
        [a_result(row_id("r", n), x) for n, x in ((1, "cat"), (2, "dog"), (4, None))]
    )
    export = joined(rows_of(file), database.results, wanted, only_finished=only_finished)
    assert [each["row"] for each in records(export)] == expected


def test_a_column_of_ids_finds_results_of_any_run(database: Database, file: Path) -> None:
    database.results.write([a_result("t1", "cat"), a_result("t4", "dog", run="earlier")])
    rows = Rows.of_files(None, [str(file)], Format(), "ticket")
    found = records(joined(rows, database.results, ResultFilter(), only_finished=True))
    assert [(each["ticket"], each["label"]) for each in found] == [("t1", "cat"), ("t4", "dog")]


def test_rows_that_cannot_be_read_say_so_and_shift_no_other(
    database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "messages.jsonl"
    file.write_text('{"text": "one"}\nnot json\n{"text": {"deep": [1]}}\n')
    database.results.write([a_result(row_id("r", 3), "dog")])
    export = joined(rows_of(file), database.results, ResultFilter(), only_finished=False)
    found = records(export)
    assert [each["row"] for each in found] == [1, 2, 3]
    assert (found[1]["status"], found[1]["error_code"]) == ("rejected", "not_json")
    assert found[2]["label"] == "dog"


def test_several_sources_of_a_run_are_one_list(
    database: Database, file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text('{"body": "six", "extra": 1}\n')
    plan = Plan(
        sources=(str(file), str(other)),
        chosen=ColumnMapping(content="body", kind=Kind.TEXT, id=None),
    )
    run = Run(id="r", model="m", source="s", created_at=NOW, plan=plan.to_json())
    database.results.write([a_result(row_id("r", 6), "cat")])
    rows = Rows.of_run(run)
    found = records(joined(rows, database.results, ResultFilter(), only_finished=True))
    assert [(each["row"], each["body"], each["extra"]) for each in found] == [(6, "six", 1)]


def test_a_join_is_written_to_parquet(database: Database, file: Path, tmp_path: Path) -> None:
    database.results.write([a_result(row_id("r", 1), "cat")])
    export = joined(rows_of(file), database.results, ResultFilter(), only_finished=False)
    write_rows(export, OutputFormat.PARQUET, str(tmp_path / "a.parquet"))
    table = pq.read_table(tmp_path / "a.parquet").to_pydict()
    assert table["label"] == ["cat", None, None, None, None]
    assert table["ticket"] == ["t1", "t2", "t3", "t4", "t5"]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda file: Rows.of_files(None, [file], Format(), None), ConfigurationError, "--run"),
        (lambda file: Rows.of_files("r", [file], Format(), "x"), ConfigurationError, "'ticket'"),
        (lambda file: Rows.of_files("r", [file + "x"], Format(), None), SourceError, "no file"),
        (
            lambda file: Rows.of_run(Run("r", "topics", "messages.csv", NOW)),
            ConfigurationError,
            "not submitted of a file",
        ),
        (
            lambda file: Rows.of_run(Run("r", "topics", "-", NOW, Plan(sources=("-",)).to_json())),
            ConfigurationError,
            "standard input",
        ),
    ],
)
def test_what_cannot_be_joined_says_what_to_do(
    make: Callable[[str], Rows], error: type[Exception], message: str, file: Path
) -> None:
    with pytest.raises(error, match=message):
        make(str(file))


def judged(database: Database, file: Path, names: dict[str, str] | None = None) -> Evaluation:
    rows = rows_of(file)
    found = with_results(rows, database.results, ResultFilter())
    return evaluate(count_truths(found, rows.columns.index("label")), names or {})


def test_failures_and_missing_rows_are_counted_apart(database: Database, file: Path) -> None:
    database.results.write([a_result(row_id("r", 1), "cat"), a_result(row_id("r", 2), "cat")])
    database.results.write([a_result(row_id("r", 4), None), a_result(row_id("r", 5), "dog")])
    found = judged(database, file)
    assert (found.answered, found.failed, found.missing, found.without_truth) == (2, 1, 1, 1)
    assert found.metrics.accuracy == 0.5
    assert found.accuracy_of_all == 0.25
    assert found.coverage == 0.5
    assert found.pairs == {("cat", "cat"): 1, ("dog", "cat"): 1}
    assert found.unknown == {"dog": 1}


def test_confidence_counts_labels_of_at_least_a_score(database: Database, file: Path) -> None:
    database.results.write(
        [a_result(row_id("r", 1), "cat", score=0.95), a_result(row_id("r", 2), "cat", score=0.55)]
    )
    by_threshold = {each.threshold: each for each in judged(database, file).confidence}
    assert (by_threshold[0.5].kept, by_threshold[0.5].accuracy) == (1.0, 0.5)
    assert (by_threshold[0.9].kept, by_threshold[0.9].accuracy) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("truths", "labels", "names", "accuracy"),
    [
        (["Cat ", "DOG"], ["cat", "dog"], {}, 1.0),
        (["0", "1"], ["LABEL_0", "LABEL_1"], {}, 1.0),
        (["0", "1"], ["cat", "dog"], {}, 0.0),
        (["0", "1"], ["cat", "dog"], {"0": "cat", "1": "dog"}, 1.0),
    ],
)
def test_truths_of_other_names_are_matched(
    truths: list[str],
    labels: list[str],
    names: dict[str, str],
    accuracy: float,
    database: Database,
    tmp_path: Path,
) -> None:
    file = tmp_path / "truth.jsonl"
    file.write_text("".join(json.dumps({"text": "x", "label": each}) + "\n" for each in truths))
    database.results.write([a_result(row_id("r", n), x) for n, x in enumerate(labels, start=1)])
    found = judged(database, file, names)
    assert found.metrics.accuracy == accuracy
    assert bool(found.unknown) == (accuracy == 0)


def test_a_column_that_is_no_truth_is_refused(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "truth.jsonl"
    file.write_text("".join(f'{{"text": "x", "label": "{n}"}}\n' for n in range(1001)))
    with pytest.raises(ConfigurationError, match="different values"):
        judged(database, file)
