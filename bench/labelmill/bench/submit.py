"""Submitting a file: ``labelmill submit`` against a loop of ``send_task``, in one run.

Both are whole commands on the same CSV file into an empty queue of the same Redis, no worker
running. Ours writes the ledger, the peer writes nothing. The clock runs from when a command starts
until it has ended; a command on a file of one row says what starting takes, which is taken off on
both sides. The processor time a row is what others at work on the machine disturb least.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import redis

from labelmill.bench.errors import BenchmarkError
from labelmill.bench.facts import QUEUE_PACKAGES, facts
from labelmill.bench.options import Log, Options
from labelmill.bench.queueing.chosen import chosen_databases
from labelmill.bench.queueing.databases import Databases
from labelmill.bench.queueing.messages import messages
from labelmill.bench.report import Measure, Report
from labelmill.local.redis import RedisServer

_QUEUE = "submitted"
_ROWS, _SMOKE_ROWS = 100_000, 2_000
_PEER_SHARE = 10  # of so many rows the peer sends one
_PEER = "send_task"


class _Used(NamedTuple):
    """What a command took."""

    seconds: float
    cpu_seconds: float


def run(options: Options, log: Log) -> Report:
    """Measure both sides, which take turns."""
    rows = options.pick(_ROWS, _SMOKE_ROWS)
    measures: list[Measure] = []
    with (
        tempfile.TemporaryDirectory(prefix="labelmill-bench-") as folder,
        RedisServer() as server,
        chosen_databases(options.database, fsync=options.fsync) as databases,
    ):
        bench = _Bench(Path(folder), server.url, rows)
        for each in databases:
            rate = Measure(f"submitting a CSV file, {each.kind}", "rows/s", _PEER)
            work = Measure(f"processor time a row, {each.kind}", "µs", _PEER)
            for _ in range(options.repeats):
                peer, ours = bench.peer(), bench.ours(each)
                rate.add(1 / ours.seconds, 1 / peer.seconds)
                work.add(ours.cpu_seconds * 1e6, peer.cpu_seconds * 1e6)
                log(f"{each.kind}: {rate.ours[-1]:,.0f} rows/s, {_PEER} {rate.peer[-1]:,.0f}")
            measures += [rate, work]
    return Report("submit", measures, {**options.as_json(), "rows": rows}, facts(*QUEUE_PACKAGES))


class _Bench:
    def __init__(self, folder: Path, broker_url: str, rows: int) -> None:
        self._folder = folder
        self._url = broker_url
        self._rows = rows
        self._files = {
            number: _written(folder / f"{number}.csv", number)
            for number in (1, rows, rows // _PEER_SHARE)
        }

    def ours(self, databases: Databases) -> _Used:
        """What ``labelmill submit`` takes a row."""

        def used(rows: int) -> _Used:
            with databases.fresh() as database:
                command = ("labelmill", "submit", _QUEUE, str(self._files[rows]))
                options = ("--max-waiting", str(10 * rows), "--progress", "none")
                return self._used((*command, *options), database.url, rows)

        return _each(used(self._rows), used(1), self._rows)

    def peer(self) -> _Used:
        """What a loop of ``send_task`` takes a row."""
        rows = self._rows // _PEER_SHARE

        def used(rows: int) -> _Used:
            command = ("labelmill.bench.submit_peer", self._url, _QUEUE, str(self._files[rows]))
            return self._used(command, "", rows)

        return _each(used(rows), used(1), rows)

    def _used(self, command: tuple[str, ...], database_url: str, rows: int) -> _Used:
        environment = os.environ | {
            "LABELMILL_BROKER_URL": self._url,
            "LABELMILL_DATABASE_URL": database_url,
        }
        with redis.Redis.from_url(self._url) as broker:
            broker.flushall()
            start = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=self._folder,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            assert process.stderr is not None
            said = process.stderr.read()
            _pid, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            process.stderr.close()
            if process.returncode or broker.llen(_QUEUE) != rows:
                raise BenchmarkError(
                    f"{command[0]} sent {broker.llen(_QUEUE)} of {rows} rows and ended with "
                    f"{process.returncode}: {said.decode()[-500:]}"
                )
        return _Used(seconds, usage.ru_utime + usage.ru_stime)


def _each(many: _Used, one: _Used, rows: int) -> _Used:
    """A row's share, without what starting takes."""
    return _Used(*((more - start) / (rows - 1) for more, start in zip(many, one, strict=True)))


def _written(file: Path, rows: int) -> Path:
    with file.open("w", newline="") as output:
        writer = csv.writer(output)
        writer.writerow(["id", "text", "label"])
        writer.writerows((number, text, "x") for number, text in enumerate(messages(rows)))
    return file
