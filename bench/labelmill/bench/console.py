"""The console: where the benchmarks say what they do and find."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from labelmill.bench.report import Report, as_table
from labelmill.core.errors import LabelmillError

#: Where JSON files and plots go.
RESULTS = Path("bench-results")


def log(line: str) -> None:
    """Say what is going on."""
    print(line, flush=True)


def show(report: Report) -> None:
    """Print a report."""
    title = f"{report.part}, SMOKE SIZES" if report.options.get("smoke") else report.part
    if report.measures:
        print(as_table(title, report.measures))
    for note in report.notes:
        print(note)
    print(", ".join(f"{name} {value}" for name, value in report.measured_on.items()), flush=True)


def run(main: Callable[[], None]) -> None:
    """Run a script; an error of ours becomes one line and exit code 1."""
    try:
        main()
    except LabelmillError as error:
        sys.exit(f"error: {error}")
