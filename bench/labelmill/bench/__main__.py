"""``python -m bench``: measure Labelmill and its peers, and say what came out."""

from __future__ import annotations

import importlib
import signal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from labelmill.bench import plot
from labelmill.bench.console import RESULTS, console, log, show
from labelmill.bench.cores import use_threads
from labelmill.bench.options import Options
from labelmill.bench.queueing.chosen import Choice
from labelmill.bench.report import Report
from labelmill.core.errors import LabelmillError


class Part(StrEnum):
    """A part of the benchmarks; each is a module of that name."""

    QUEUE = "queue"
    SUBMIT = "submit"
    TEXTS = "texts"
    IMAGES = "images"
    WORKER = "worker"
    REPLICAS = "replicas"
    POISON = "poison"
    MEMORY = "memory"
    GATEWAY = "gateway"
    EXPORT = "export"
    RAY = "ray"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
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
    jobs: Annotated[int, typer.Option(min=1, help="No-op jobs of a trial of the queue.")] = 10_000,
    database: Annotated[Choice, typer.Option(help="Where the queue's rows go.")] = Choice.BOTH,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of torch, on both sides; by default its own choice.")
    ] = None,
    fsync: Annotated[
        bool, typer.Option(help="Let PostgreSQL wait for the disk at each commit.")
    ] = False,
    results: Annotated[Path, typer.Option(help="The folder for JSON files and plots.")] = RESULTS,
) -> None:
    """Measure Labelmill against its peers, in one run each part."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # everything is still cleaned up
    plot.check(results / "all.png")
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
    reports: list[Report] = []
    for part in parts or list(Part):
        console.rule(str(part))
        module = importlib.import_module(f"bench.{_MODULES.get(part, part)}")
        report: Report = module.run(options, log)
        report.write(results / f"{part}.json")
        plot.draw(report, results / f"{part}.png")
        show(report)
        reports.append(report)
    plot.draw_goals(reports, results / "goals.png")


_MODULES = {Part.RAY: "ray_data"}  # a module called ray would be taken for the peer itself


if __name__ == "__main__":
    try:
        app(prog_name="python -m bench")
    except LabelmillError as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
        raise SystemExit(1) from None
