"""The command ``labelmill evaluate``: how good a run's labels are."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, TypeAlias

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from labelmill.cli.lines import print_json
from labelmill.core.errors import ConfigurationError
from labelmill.core.settings import DatabaseSettings
from labelmill.db.database import Database
from labelmill.db.filters import ResultFilter
from labelmill.export.canvas import Png, Svg
from labelmill.export.confusion import Confusion, confusion, draw, shortened, size
from labelmill.export.join import source_rows, with_results
from labelmill.export.output import opened_output
from labelmill.export.truth import Evaluation, count_truths, evaluate, fields

_stdout = Console()
_stderr = Console(stderr=True)


class Report(StrEnum):
    """How the figures are shown."""

    TABLE = "table"
    JSON = "json"


_Run: TypeAlias = Annotated[
    str | None, typer.Argument(help="The run; none where --id-column says whose rows they are.")
]
_Truth: TypeAlias = Annotated[str, typer.Option(help="The column of the right labels.")]
_TruthFile: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--truth-file",
        "--join",
        metavar="FILE",
        help="The file with that column; by default the one that the run was submitted of.",
    ),
]
_IdColumn: TypeAlias = Annotated[
    str | None,
    typer.Option(help="The file's column of job ids; without it its rows are the run's."),
]
_Maps: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="TRUTH=LABEL", help="A truth that stands for a label."),
]
_Output: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Draw the confusion matrix: .svg or .png; or write the figures as .json.",
    ),
]
_Form: TypeAlias = Annotated[Report, typer.Option("--format", help="How to show them.")]


def evaluate_run(
    run: _Run = None,
    truth: _Truth = "label",
    truth_file: _TruthFile = None,
    id_column: _IdColumn = None,
    maps: _Maps = None,
    output: _Output = None,
    form: _Form = Report.TABLE,
) -> None:
    """Hold a run's labels against the right ones: accuracy, precision, recall, F1, confusion.

    Failed jobs and rows without a result are in none of these but in coverage and in the accuracy
    of all rows, where they count as wrong.

    Examples:

      labelmill evaluate RUN --truth category --output confusion.svg

      labelmill evaluate RUN --truth sentiment --map 0=negative --map 1=positive --format json
    """
    kind = _kind(output)
    names = dict(_pair(each) for each in maps or ())
    with Database.open(DatabaseSettings().database_url) as database:
        rows = source_rows(database, run, truth_file, id_column)
        if truth not in rows.columns:
            raise ConfigurationError(
                f"there is no column {truth!r}; there is {', '.join(map(repr, rows.columns))}"
            )
        found = with_results(rows, database.results, ResultFilter())
        counted = count_truths(found, rows.columns.index(truth))
    judged = evaluate(counted, names)
    _warn(judged, counted.known)
    if kind is not None:
        _write(judged, kind, output, run)
    if form is Report.JSON:
        print_json(fields(judged))
    else:
        show(judged, _stdout)


def show(judged: Evaluation, console: Console) -> None:
    """Print the evaluation."""
    figures = judged.metrics
    rows = judged.answered + judged.failed + judged.missing
    console.print(
        f"accuracy [bold]{figures.accuracy:.4f}[/] of {judged.answered:,} rows with a label",
        highlight=False,
    )
    console.print(
        f"accuracy {judged.accuracy_of_all:.4f} of all {rows:,} rows: {judged.failed:,} failed and"
        f" {judged.missing:,} without a result count as wrong (coverage {judged.coverage:.1%})",
        highlight=False,
    )
    if judged.without_truth:
        console.print(f"{judged.without_truth:,} rows have no truth and are left out")
    table = Table(header_style="bold")
    table.add_column("label", overflow="fold")
    for name in ("precision", "recall", "F1", "support"):
        table.add_column(name, justify="right", no_wrap=True)
    means = {"macro mean": figures.macro, "weighted mean": figures.weighted}
    for place, group in enumerate((figures.classes, means)):
        if place:
            table.add_section()
        for label, each in group.items():
            numbers = (each.precision, each.recall, each.f1)
            table.add_row(escape(label), *(f"{n:.4f}" for n in numbers), f"{each.support:,}")
    console.print(table)
    matrix = confusion_table(confusion(judged.pairs), console.width)
    if matrix is None:
        console.print("the confusion matrix is too wide to be shown: draw it with --output")
    else:
        console.print(matrix)
    kept = Table(title="labels of at least a score", title_justify="left", header_style="bold")
    for name in ("score", "of the rows", "accuracy"):
        kept.add_column(name, justify="right")
    for level in judged.confidence:
        accuracy = f"{level.accuracy:.4f}" if level.kept else "–"
        kept.add_row(f"{level.threshold:.2f}", f"{level.kept:.1%}", accuracy)
    console.print(kept)


def confusion_table(matrix: Confusion, width: int) -> Table | None:
    """The matrix for a terminal of that width; None where it would not fit."""
    names = [shortened(label, 14) for label in matrix.labels]
    cells = [
        max(len(name), *(len(f"{count:,}") for count in column)) + 3
        for name, column in zip(
            names, zip(*map(matrix.row, matrix.labels), strict=True), strict=True
        )
    ]
    if sum(cells) + max(map(len, names)) + 4 > width:
        return None
    table = Table(title="truth (down), label given (across)", title_justify="left")
    table.add_column("")
    for name in names:
        table.add_column(escape(name), justify="right")
    for truth, name in zip(matrix.labels, names, strict=True):
        table.add_row(
            escape(name),
            *(
                f"[bold green]{count:,}[/]" if truth == label and count else f"{count:,}"
                for label, count in zip(matrix.labels, matrix.row(truth), strict=True)
            ),
        )
    return table


def _warn(judged: Evaluation, known: set[str]) -> None:
    if judged.mapped:
        said = ", ".join(f"{truth} = {label}" for truth, label in list(judged.mapped.items())[:20])
        _stderr.print(f"taken for the same: {escape(said)}", highlight=False, soft_wrap=True)
    if not judged.unknown:
        return
    truths = ", ".join(list(judged.unknown)[:20])
    labels = ", ".join(sorted(known)[:20])
    right = any(truth == label for truth, label in judged.pairs)
    lead = "" if right else "no truth is a label that the model gave: every row counts as wrong. "
    _stderr.print(
        f"[yellow]{lead}Truths that the model never gave:[/] {escape(truths)}; it gave"
        f" {escape(labels)}. Name what is the same with --map TRUTH=LABEL.",
        highlight=False,
        soft_wrap=True,
    )


def _write(judged: Evaluation, kind: str, output: str | None, run: str | None) -> None:
    if kind == ".json":
        content = (json.dumps(fields(judged), ensure_ascii=False, indent=1) + "\n").encode()
    else:
        matrix = confusion(judged.pairs)
        canvas = (Svg if kind == ".svg" else Png)(*size(matrix))
        draw(matrix, canvas, f"{run or 'all'}: accuracy {judged.metrics.accuracy:.4f}")
        content = canvas.content()
    with opened_output(output) as file:
        file.write(content)


def _kind(output: str | None) -> str | None:
    if output is None:
        return None
    kind = PurePosixPath(output).suffix.lower()
    if kind not in {".svg", ".png", ".json"}:
        raise ConfigurationError("--output is an .svg, a .png or a .json file")
    return kind


def _pair(text: str) -> tuple[str, str]:
    truth, equals, label = text.partition("=")
    if not (truth and equals and label):
        raise ConfigurationError(f"--map is TRUTH=LABEL, not {text!r}")
    return truth, label
