"""``python -m labelmill.bench``: measure Labelmill and its peers, and say what came out."""

from __future__ import annotations

import argparse
import importlib
import signal
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from labelmill.bench import plot
from labelmill.bench.arguments import count, parser
from labelmill.bench.console import log, run, show
from labelmill.bench.cores import use_threads
from labelmill.bench.options import Options
from labelmill.bench.queueing.chosen import Choice
from labelmill.bench.report import Report


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
    FEED = "feed"
    GATEWAY = "gateway"
    EXPORT = "export"
    RAY = "ray"


MODULES = {Part.RAY: "ray_data"}
"""Those of another name: one called ray would be taken for the peer itself."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure Labelmill against its peers, in one run each part."""
    given = _parsed(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # everything is still cleaned up
    plot.check(given.results / "all.png")
    if given.threads or given.smoke:
        use_threads(given.threads or 1)
    options = Options(
        repeats=1 if given.smoke else given.repeats,
        smoke=given.smoke,
        data=given.data,
        text_column=given.text_column,
        group_size=given.group_size,
        jobs=given.jobs,
        database=given.database,
        fsync=given.fsync,
    )
    reports: list[Report] = []
    for part in given.parts or list(Part):
        log(f"── {part} ──")
        module = importlib.import_module(f"labelmill.bench.{MODULES.get(part, part)}")
        report: Report = module.run(options, log)
        report.write(given.results / f"{part}.json")
        plot.draw(report, given.results / f"{part}.png")
        show(report)
        reports.append(report)
    plot.draw_goals(reports, given.results / "goals.png")


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parse = parser("python -m labelmill.bench", main.__doc__)
    parse.add_argument(
        "parts", nargs="*", type=_part, metavar="PART",
        help=f"what to measure, all by default: {', '.join(Part)}",
    )  # fmt: skip
    parse.add_argument(
        "--data", type=Path,
        help="your texts (.csv, .jsonl) or images (a folder) for these parts",
    )  # fmt: skip
    parse.add_argument("--text-column", default="text", help="the column of the texts")
    parse.add_argument(
        "--group-size", type=count(1024), default=128, help="the most jobs of a group of ours"
    )
    parse.add_argument(
        "--jobs", type=count(), default=10_000, help="no-op jobs of a trial of the queue"
    )
    parse.add_argument(
        "--database", type=Choice, choices=list(Choice), default=Choice.BOTH,
        help="where the queue's rows go",
    )  # fmt: skip
    parse.add_argument(
        "--threads", type=count(), help="of torch, on both sides; by default its own choice"
    )
    parse.add_argument(
        "--fsync", action=argparse.BooleanOptionalAction, default=False,
        help="let PostgreSQL wait for the disk at each commit",
    )  # fmt: skip
    return parse.parse_intermixed_args(arguments)


def _part(text: str) -> Part:
    try:
        return Part(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(Part)}") from None


if __name__ == "__main__":
    run(main)
