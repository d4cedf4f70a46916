"""The gateway: 200 clients that submit a text each, again and again, for 30 s.

The peer is a FastAPI application that sends a Celery task a request, on the same Redis. It writes
no ledger: a job that Redis loses is lost. On our side a worker with a model that does nothing takes
the jobs meanwhile, on the same cores; the peer's jobs only wait.

It fails unless each answer is 202 or 429 and each job that was accepted has its row.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from labelmill.bench.errors import BenchmarkError
from labelmill.bench.facts import QUEUE_PACKAGES, facts
from labelmill.bench.http_load import Answers, load
from labelmill.bench.options import Log, Options
from labelmill.bench.report import Measure, Report
from labelmill.bench.tables import engine_table
from labelmill.bench.turns import take_turns
from labelmill.db.database import Database
from labelmill.local import gateway
from labelmill.local.process import free_port
from labelmill.local.stack import Stack

_CLIENTS = 200
_FULL_SECONDS, _SMOKE_SECONDS = 30.0, 1.0
_QUEUE, _PEERS_QUEUE = "texts", "stock"
_WAIT_SECONDS = 120
_IDS_A_QUERY = 1000


def run(options: Options, log: Log) -> Report:
    """Measure the gateway against the peer."""
    seconds = options.pick(_FULL_SECONDS, _SMOKE_SECONDS)
    measures = {
        "rate": Measure("requests accepted", "requests/s", "FastAPI and send_task"),
        "p50": Measure("a request, median", "ms", "FastAPI and send_task"),
        "p99": Measure("a request, 99th percentile", "ms", "FastAPI and send_task"),
    }
    statuses: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="labelmill-bench-") as folder,
        _stack(Path(folder), options.group_size) as (stack, port),
        Database.open(stack.settings["LABELMILL_DATABASE_URL"]) as database,
        _peer(stack) as peers_port,
    ):

        def ours() -> Answers:
            answers = _loaded(port, _QUEUE, seconds)
            _check_rows(database, answers)
            statuses.append(str(dict(answers.statuses)))
            return answers

        sides: dict[str, Callable[[], Answers]] = {
            "gateway": ours,
            "peer": lambda: _loaded(peers_port, _PEERS_QUEUE, seconds),
        }
        for taken in take_turns(sides, options.repeats):
            mine, theirs = taken["gateway"], taken["peer"]
            measures["rate"].add(mine.rate, theirs.rate)
            measures["p50"].add(mine.percentile(50), theirs.percentile(50))
            measures["p99"].add(mine.percentile(99), theirs.percentile(99))
            log(f"requests/s: gateway {mine.rate:,.0f}, peer {theirs.rate:,.0f}")
    return Report(
        "gateway",
        list(measures.values()),
        options.as_json(),
        facts(*QUEUE_PACKAGES, "fastapi", "uvicorn"),
        notes=[
            f"{_CLIENTS} clients for {seconds:g} s; answers of the gateway: {', '.join(statuses)};"
            " each job that was accepted has its row"
        ],
    )


def _loaded(port: int, queue: str, seconds: float) -> Answers:
    answers = load(port, _CLIENTS, seconds, {"model": queue, "text": "The parcel never came."})
    if not set(answers.statuses) <= {202, 429}:
        raise BenchmarkError(f"answers beside 202 and 429: {dict(answers.statuses)}")
    return answers


def _check_rows(database: Database, answers: Answers) -> None:
    """Wait until each accepted job has its row.

    Raises:
        BenchmarkError: some have none in time.
    """
    left = set(answers.accepted)
    deadline = time.monotonic() + _WAIT_SECONDS
    while left:
        ids = sorted(left)[:_IDS_A_QUERY]
        left -= set(database.results.get_many(ids))
        if left and time.monotonic() > deadline:
            raise BenchmarkError(f"{len(left)} accepted jobs have no row")


@contextmanager
def _stack(folder: Path, group_size: int) -> Iterator[tuple[Stack, int]]:
    models = folder / "models.toml"
    # Strings, numbers and booleans look the same in TOML and in JSON.
    table = engine_table("NoopEngine", group_size)
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    models.write_text("\n".join([f"[models.{_QUEUE}]", *lines, ""]))
    listening = socket.create_server(("127.0.0.1", 0))
    stack = Stack(
        folder,
        database_url=f"sqlite:///{folder / 'labelmill.db'}",
        models_file=models,
        image_root=folder,
        gateway=listening,
    )
    with stack:
        yield stack, listening.getsockname()[1]


@contextmanager
def _peer(stack: Stack) -> Iterator[int]:
    port = free_port()
    app = "labelmill.bench.gateway_peer:app"
    command = ["uvicorn", app, "--port", str(port), "--log-level", "error"]
    environment = os.environ | stack.settings
    with subprocess.Popen(
        [sys.executable, "-m", *command, "--no-access-log"], env=environment
    ) as process:
        try:
            while not gateway.answers(port, "/openapi.json"):
                if process.poll() is not None:
                    raise BenchmarkError("the peer did not start")
                time.sleep(0.1)
            yield port
        finally:
            process.terminate()
