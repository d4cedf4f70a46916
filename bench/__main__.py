"""``python -m bench``: measure Labelmill and its peers, and say what came out."""

from __future__ import annotations

import importlib
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench import plot
from bench.cores import use_threads
from bench.options import Options
from bench.queueing.databases import Choice
from bench.report import Report, as_table
from db.errors import LabelmillError

_RESULTS = Path(__file__).parent / "results"

_WIDTH = 130  # of a log, which has none of its own

console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)


class Part(StrEnum):
    """A part of the benchmarks; each is a module of that name."""

    QUEUE = "queue"
    TEXTS = "texts"
    IMAGES = "images"
    WORKER = "worker"
    REPLICAS = "replicas"
    POISON = "poison"
    MEMORY = "memory"
    RAY = "ray"


def main(
    parts: Annotated[
        list[Part] | None, typer.Argument(help="What to measure; all by default.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="How often each side is measured.")] = 3,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Tiny sizes; the figures mean nothing.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="Your texts (.csv, .jsonl) or images (a folder) for these parts."),
    ] = None,
    text_column: Annotated[str, typer.Option(help="The column of the texts.")] = "text",
    group_size: Annotated[
        int, typer.Option(min=1, max=1024, help="The most jobs of a group of ours.")
    ] = 128,
    jobs: Annotated[int, typer.Option(min=1, help="No-op jobs of a trial of the queue.")] = 20_000,
    database: Annotated[Choice, typer.Option(help="Where the queue's rows go.")] = Choice.BOTH,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of torch, on both sides; by default its own choice.")
    ] = None,
    fsync: Annotated[
        bool, typer.Option(help="Let PostgreSQL wait for the disk at each commit.")
    ] = False,
    results: Annotated[Path, typer.Option(help="The folder for JSON files and plots.")] = _RESULTS,
) -> None:
    """Measure Labelmill against its peers, in one run each part."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # everything is still cleaned up
    plot.require_matplotlib()
    if threads or smoke:
        use_threads(threads or 1)
    options = Options(
        repeats=1 if smoke else repeats,
        smoke=smoke,
        data=data,
        text_column=text_column,
        group_size=group_size,
        jobs=jobs,
        database=database,
        fsync=fsync,
    )
    for part in parts or list(Part):
        console.rule(str(part))
        report: Report = importlib.import_module(f"bench.{_MODULES.get(part, part)}").run(
            options, lambda line: console.print(f"[dim]{line}[/]", highlight=False)
        )
        report.write(results / f"{part}.json")
        plot.draw(report, results / f"{part}.png")
        show(report)


_MODULES = {Part.RAY: "ray_data"}  # a module called ray would be taken for the peer itself


def show(report: Report) -> None:
    """Print a report."""
    title = f"{report.part}, SMOKE SIZES" if report.options.get("smoke") else report.part
    if report.measures:
        console.print(as_table(title, report.measures))
    for note in report.notes:
        console.print(note, highlight=False)
    measured_on = ", ".join(f"{name} {value}" for name, value in report.measured_on.items())
    console.print(f"[dim]{measured_on}[/]", highlight=False)


if __name__ == "__main__":
    try:
        typer.run(main)
    except LabelmillError as error:
        console.print(f"[bold red]error:[/] {error}", highlight=False)
        raise SystemExit(1) from None
