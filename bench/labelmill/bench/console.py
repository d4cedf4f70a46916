"""The console: where the benchmarks say what they do and find."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from labelmill.bench.report import Report, as_table

#: Where JSON files and plots go.
RESULTS = Path("bench-results")

_WIDTH = 130  # of a log, which has none of its own

console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)


def log(line: str) -> None:
    """Say what is going on."""
    console.print(f"[dim]{line}[/]", highlight=False)


def show(report: Report) -> None:
    """Print a report."""
    title = f"{report.part}, SMOKE SIZES" if report.options.get("smoke") else report.part
    if report.measures:
        console.print(as_table(title, report.measures))
    for note in report.notes:
        console.print(note, highlight=False)
    measured_on = ", ".join(f"{name} {value}" for name, value in report.measured_on.items())
    console.print(f"[dim]{measured_on}[/]", highlight=False)
