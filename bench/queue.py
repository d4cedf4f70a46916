"""``python -m bench.queue``: jobs through Labelmill and through stock Celery, in one run.

The model is a no-op on both sides, so that what is measured is all that is around a model: Redis,
messages, leases or acknowledgements, and one committed row a job.

=====================  =========================================================================
queue to rows          jobs that wait in Redis until their rows are committed, by one worker
                       (:mod:`bench.queueing.trial` says how the clock runs)
worker's CPU time      processor time a job that the worker's processes used for it; of these
                       figures the one that others at work on the machine disturb least
latency                a lone job, from sending it to its committed row, on an idle worker
publishing             jobs from texts to messages in Redis (:mod:`bench.queueing.publishing`)
=====================  =========================================================================

The sides take turns on one Redis and on databases made alike, and change who begins. The peer is
taken at its best: with the pool that is the fastest in a short trial of each, with rows written
through the bare driver, and with PostgreSQL told not to wait for the disk, which would cost it a
wait a job and us a wait a group. Our side is ``labelmill worker`` as it comes.

It fails unless each job of each trial has exactly one row.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import redis
import typer
from rich.console import Console

from bench.queueing.databases import Databases, Kind, PostgresDatabases, SqliteDatabases
from bench.queueing.errors import BenchmarkError
from bench.queueing.facts import facts
from bench.queueing.report import as_table
from bench.queueing.rounds import Rounds
from embedded.postgres import PostgresServer
from embedded.redis import RedisServer

_RESULTS = Path(__file__).parent / "results" / "queue.json"

_WIDTH = 110  # of a log, which has none of its own

console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)


class Choice(StrEnum):
    """Which databases to measure on."""

    SQLITE = Kind.SQLITE
    POSTGRESQL = Kind.POSTGRESQL
    BOTH = "both"

    def includes(self, kind: Kind) -> bool:
        """Whether that database was chosen."""
        return self.value in (kind, "both")


def main(
    jobs: Annotated[int, typer.Option(min=1, help="How many jobs a trial has.")] = 20_000,
    repeats: Annotated[int, typer.Option(min=1, help="How often each side is measured.")] = 3,
    database: Annotated[Choice, typer.Option(help="Where the rows go.")] = Choice.BOTH,
    group_size: Annotated[
        int, typer.Option(min=1, max=1024, help="The most jobs of a group of ours.")
    ] = 128,
    fsync: Annotated[
        bool, typer.Option(help="Let PostgreSQL wait for the disk at each commit.")
    ] = False,
) -> None:
    """Measure Labelmill's queue against stock Celery's."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # everything is still cleaned up
    with ExitStack() as stack:
        broker_url = stack.enter_context(RedisServer()).url
        databases = _databases(stack, database, fsync=fsync)
        with redis.Redis.from_url(broker_url) as broker:
            measured_on = facts(broker) | {str(each.kind): each.version() for each in databases}
        rounds = Rounds(broker_url, jobs, group_size, console.print)
        rates = {each: rounds.pool_rates(each) for each in databases}
        pools = {each: max(rates[each], key=rates[each].__getitem__) for each in databases}
        measures = rounds.run(databases, pools, repeats)

    report = {
        "measured_on": measured_on,
        "options": {
            "jobs": jobs,
            "repeats": repeats,
            "group_size": group_size,
            "postgresql_fsync": fsync,
        },
        "celery_pools": {
            str(each.kind): {str(pool): round(rate) for pool, rate in rates[each].items()}
            for each in databases
        },
        "measures": [each.as_json() for each in measures],
    }
    _RESULTS.parent.mkdir(exist_ok=True)
    _RESULTS.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    console.print(as_table(measures))
    for each in databases:
        console.print(f"Celery's pool on {each.kind}: {pools[each]}")
    console.print(", ".join(f"{name} {value}" for name, value in measured_on.items()))


def _databases(stack: ExitStack, choice: Choice, *, fsync: bool) -> list[Databases]:
    """The databases that were chosen, until the stack is closed."""
    databases: list[Databases] = []
    if choice.includes(Kind.SQLITE):
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="labelmill-bench-"))
        databases.append(SqliteDatabases(Path(folder)))
    if choice.includes(Kind.POSTGRESQL):
        server = stack.enter_context(PostgresServer(durable=fsync))
        databases.append(PostgresDatabases(server))
    return databases


if __name__ == "__main__":
    try:
        typer.run(main)
    except BenchmarkError as error:
        console.print(f"[bold red]error:[/] {error}", highlight=False)
        raise SystemExit(1) from None
