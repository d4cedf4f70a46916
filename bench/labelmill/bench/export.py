"""Exporting a run: ``labelmill results --output`` against two plain scripts, in one run.

All three are whole commands that write the same results with their texts as CSV, out of the same
database: ours, a ``SELECT`` through the bare driver into ``csv.writer`` (which leaves scores and
times as the database gives them, where ours are the same on both), and a loop over SQLAlchemy's
objects, as everybody writes it, over a tenth of the rows. The clock runs from when a command starts
until it has ended, so that starting, a second or two, is in the figures.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from labelmill.bench.errors import BenchmarkError
from labelmill.bench.exporting.filling import RUN, fill
from labelmill.bench.facts import facts
from labelmill.bench.options import Log, Options
from labelmill.bench.queueing.chosen import chosen_databases
from labelmill.bench.report import Measure, Report

_ROWS, _SMOKE_ROWS = 1_000_000, 2_000
_FORMATS = ("csv", "jsonl", "parquet")
_PEER_SHARE = 10  # of so many rows the loop over objects reads one
_LOOK_S = 0.02
_MIB = 2**20


class _Used(NamedTuple):
    """What a command took: times a row in seconds, memory in MiB."""

    seconds: float
    cpu_seconds: float
    memory: float


def run(options: Options, log: Log) -> Report:
    """Measure all sides, which take turns, on each database."""
    rows = options.pick(_ROWS, _SMOKE_ROWS)
    measures: list[Measure] = []
    with (
        tempfile.TemporaryDirectory(prefix="labelmill-bench-") as folder,
        chosen_databases(options.database, fsync=options.fsync) as databases,
    ):
        for each in databases:
            with each.fresh() as database:
                fill(database.url, rows)
                bench = _Bench(Path(folder), database.url, rows)
                measures += bench.measure(str(each.kind), options.repeats, log)
    measured_on = facts("sqlalchemy", "psycopg", "pyarrow")
    return Report("export", measures, {**options.as_json(), "rows": rows}, measured_on)


class _Bench:
    def __init__(self, folder: Path, url: str, rows: int) -> None:
        self._folder = folder
        self._url = url
        self._rows = rows

    def measure(self, kind: str, repeats: int, log: Log) -> list[Measure]:
        """Rates, processor time and memory."""
        script, objects = "SELECT and csv.writer", "a loop over objects"
        rate = Measure(f"{kind}: CSV", "rows/s", script)
        rate_of_objects = Measure(f"{kind}: CSV", "rows/s", objects)
        work = Measure(f"{kind}: CSV, processor time", "µs/row", script)
        memory = Measure(f"{kind}: CSV, resident memory", "MiB", script)
        others = {form: Measure(f"{kind}: {form}", "rows/s") for form in _FORMATS[1:]}
        for _ in range(repeats):
            ours, plain = self._ours("csv"), self._peer("select", self._rows)
            loop = self._peer("objects", self._rows // _PEER_SHARE)
            rate.add(1 / ours.seconds, 1 / plain.seconds)
            rate_of_objects.add(1 / ours.seconds, 1 / loop.seconds)
            work.add(ours.cpu_seconds * 1e6, plain.cpu_seconds * 1e6)
            memory.add(ours.memory, plain.memory)
            for form, measure in others.items():
                measure.add(1 / self._ours(form).seconds)
            log(f"{kind}: {rate.ours[-1]:,.0f} rows/s, {script} {rate.peer[-1]:,.0f}")
        return [rate, rate_of_objects, work, memory, *others.values()]

    def _ours(self, form: str) -> _Used:
        options = ("--run", RUN, "--no-join", "--output", f"out.{form}")
        return self._used(("labelmill", "results", *options), self._rows)

    def _peer(self, way: str, rows: int) -> _Used:
        command = ("labelmill.bench.exporting.peer", way, self._url, "peer.csv", str(rows))
        return self._used(command, rows)

    def _used(self, command: tuple[str, ...], rows: int) -> _Used:
        """What a command that writes so many rows takes a row, and the most memory it had."""
        environment = os.environ | {"LABELMILL_DATABASE_URL": self._url}
        log = self._folder / "stderr.log"
        start = time.perf_counter()
        with log.open("wb") as file:
            process = psutil.Popen(
                [sys.executable, "-m", *command],
                cwd=self._folder,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=file,
            )
        memory, times = 0, process.cpu_times()
        while process.poll() is None:
            with suppress(psutil.Error):
                times, memory = process.cpu_times(), max(memory, process.memory_info().rss)
            time.sleep(_LOOK_S)
        seconds = time.perf_counter() - start
        said = log.read_text()
        if process.returncode or f"{rows:,} rows written" not in said:
            raise BenchmarkError(
                f"{' '.join(command[:2])} ended with {process.returncode}: {said[-500:]}"
            )
        return _Used(seconds / rows, (times.user + times.system) / rows, memory / _MIB)
