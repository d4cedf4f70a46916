"""End to end: trials of our workers alone, on one Redis and databases of one kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from labelmill.bench.queueing.databases import Databases, sqlite_databases
from labelmill.bench.queueing.ours import OurSide
from labelmill.bench.queueing.process import WorkerProcess
from labelmill.bench.queueing.trial import Figures, Load, run_trial
from labelmill.bench.queueing.watch import Watch
from labelmill.bench.tables import ModelTable
from labelmill.local.redis import RedisServer


@dataclass(frozen=True)
class EndToEnd:
    """Runs trials from Redis to committed rows.

    Parameters:
        broker_url: a Redis that may be emptied.
        databases: a fresh one is made for each trial.
    """

    broker_url: str
    databases: Databases

    def trial(
        self,
        model: ModelTable,
        load: Load,
        *,
        image_root: Path | None = None,
        replicas: int = 1,
        settings: Mapping[str, str] | None = None,
        during: Callable[[Watch, Sequence[WorkerProcess]], None] | None = None,
    ) -> Figures:
        """See :func:`~labelmill.bench.queueing.trial.run_trial`.

        Parameters:
            settings: further ones of the workers.
        """
        with (
            redis.Redis.from_url(self.broker_url) as broker,
            self.databases.fresh() as database,
            OurSide(self.broker_url, database.url, model, image_root, settings) as side,
        ):
            return run_trial(side, broker, database, load, replicas=replicas, during=during)


@contextmanager
def end_to_end() -> Iterator[EndToEnd]:
    """On a Redis of its own, and SQLite."""
    with RedisServer() as server, sqlite_databases() as databases:
        yield EndToEnd(server.url, databases)
