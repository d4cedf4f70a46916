"""The command ``labelmill evaluate``: how good a run's labels are."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from labelmill.core.errors import ConfigurationError
from labelmill.db.filters import ResultFilter
from labelmill.db.records import Records
from labelmill.core.settings import DatabaseSettings
from labelmill.db.store import Store
from labelmill.sources.base import Format as SourceFormat
from labelmill.export.canvas import Png, Svg
from labelmill.export.confusion import confusion, confusion_table, draw, size
from labelmill.export.join import Rows, with_results
from labelmill.export.output import opened_output
from labelmill.export.truth import Evaluation, evaluate, tally

_stdout = Console()
_stderr = Console(stderr=True)


class Report(StrEnum):
    """How the figures are shown."""

    TABLE = "table"
    JSON = "json"


def evaluate_run(
    run: Annotated[
        str | None, typer.Argument(help="The run; none where --id-column says whose rows they are.")
    ] = None,
    truth: Annotated[str, typer.Option(help="The column of the right labels.")] = "label",
    truth_file: Annotated[
        str | None,
        typer.Option(
            "--truth-file",
            "--join",
            metavar="FILE",
            help="The file with that column; by default the one that the run was submitted of.",
        ),
    ] = None,
    id_column: Annotated[
        str | None,
        typer.Option(help="The file's column of job ids; without it its rows are the run's."),
    ] = None,
    maps: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="TRUTH=LABEL", help="A truth that stands for a label."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Draw the confusion matrix: .svg or .png; or write the figures as .json.",
        ),
    ] = None,
    form: Annotated[Report, typer.Option("--format", help="How to show them.")] = Report.TABLE,
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
    with Store.open(DatabaseSettings().database_url) as store:
        rows = source_rows(store, run, truth_file, id_column)
        if truth not in rows.columns:
            raise ConfigurationError(
                f"there is no column {truth!r}; there is {', '.join(map(repr, rows.columns))}"
            )
        found = with_results(rows, Records(store.engine), ResultFilter())
        counted = tally(found, rows.columns.index(truth))
    judged = evaluate(counted, names)
    _warn(judged, counted.known)
    if kind is not None:
        _write(judged, kind, output, run)
    if form is Report.JSON:
        sys.stdout.write(json.dumps(fields(judged), ensure_ascii=False) + "\n")
    else:
        show(judged, _stdout)


def source_rows(store: Store, run: str | None, file: str | None, id_column: str | None) -> Rows:
    """The rows of a file, or of what a run was submitted of.

    Raises:
        ConfigurationError: there is no such run, or it cannot be said whose rows they are.
        SourceError: the file cannot be read.
    """
    found = store.run(run) if run is not None else None
    if run is not None and found is None:
        raise ConfigurationError(f"there is no run {run!r}; labelmill status lists the newest")
    if file is not None:
        return Rows.of_files(run, [file], SourceFormat(), id_column)
    if found is None:
        raise ConfigurationError("give a run, or a file with --id-column")
    return Rows.of_run(found)


def fields(judged: Evaluation) -> dict[str, Any]:
    """The evaluation for programs."""
    content = asdict(judged)
    content["pairs"] = [
        {"truth": truth, "label": label, "count": count}
        for (truth, label), count in sorted(judged.pairs.items())
    ]
    return content


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
