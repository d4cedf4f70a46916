"""The soak: workers are killed at random for minutes under load, and what is lost is counted.

    python -m tests.soak --minutes 10

First the load: how many rows a second the workers write when nobody is killed. Then half of that
is submitted, while one worker after the other is killed and started again. It prints what was
submitted, the rows, what was lost, what was doubled and the longest wait from submission to row;
its exit code is 1 if anything was lost or doubled.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

from labelmill.client import Client, NewJob
from labelmill.db.database import Database
from labelmill.db.schema import upgrade
from labelmill.local.postgres import PostgresServer
from labelmill.local.redis import RedisServer
from tests.support.counting import freeze_results, row_count, wait_until_nothing_is_left
from tests.support.rows import all_results
from tests.support.waiting import wait_for
from tests.support.worker import SCRIPTED_MODELS, Supervisor, Workers

_LOAD_SECONDS = 10
_BLOCK = 100
_LOOK_SECONDS = 0.02
_WORKERS = 3


class Soak:
    """One soak over its own Redis and PostgreSQL.

    Parameters:
        workers: not started yet.
        chance: draws the moments and the victims.
    """

    def __init__(
        self, workers: Workers, client: Client, database: Database, chance: random.Random
    ) -> None:
        self._client = client
        self._database = database
        self._chance = chance
        self._supervisor = Supervisor(workers, _WORKERS)
        self.ids: list[str] = []
        self.kills = 0

    def capacity(self) -> float:
        """Rows a second, with the queue never empty."""
        self._submit(_BLOCK)
        wait_for(lambda: len(self._supervisor.ready()) == _WORKERS, 60)
        first, began = row_count(self._database), time.monotonic()
        while time.monotonic() < began + _LOAD_SECONDS:
            if len(self.ids) - row_count(self._database) < 10 * _BLOCK:
                self._submit(_BLOCK)
        return (row_count(self._database) - first) / (time.monotonic() - began)

    def kill_under_load(self, seconds: float, jobs_a_second: float, pause: float) -> None:
        """Submit at this rate, and kill a worker after pauses of ``pause`` on average."""
        before, began = len(self.ids), time.monotonic()
        next_kill = began
        while (now := time.monotonic()) < began + seconds:
            self._supervisor.look()
            if len(self.ids) - before < (now - began) * jobs_a_second:
                self._submit(_BLOCK)
            if now >= next_kill and (ready := self._supervisor.ready()):
                self._chance.choice(ready).kill()
                self.kills += 1
                next_kill = now + self._chance.uniform(0, 2 * pause)
            time.sleep(_LOOK_SECONDS)

    def settle(self, timeout: float) -> None:
        """Wait for the last rows, as long as there is hope."""
        deadline = time.monotonic() + timeout
        while row_count(self._database) < len(self.ids) and time.monotonic() < deadline:
            self._supervisor.look()
            time.sleep(_LOOK_SECONDS)

    def report(self) -> bool:
        """Print what was counted; whether nothing was lost or doubled."""
        counted: Counter[str] = Counter()
        statuses: Counter[str] = Counter()
        longest = timedelta(0)
        for row in all_results(self._database):
            counted[row.id] += 1
            statuses[row.status] += 1
            if row.enqueued_at is not None:
                longest = max(longest, row.finished_at - row.enqueued_at)
        lost = [each for each in self.ids if not counted[each]]
        doubled = [each for each, rows in counted.items() if rows > 1]
        print(f"kills         {self.kills}")
        print(f"submitted     {len(self.ids)}")
        print(f"rows          {counted.total()} ({dict(statuses)})")
        print(f"lost          {len(lost)}")
        print(f"doubled       {len(doubled)}")
        print(f"longest wait  {longest.total_seconds():.1f} s")
        return not lost and not doubled and counted.total() == len(self.ids)

    def _submit(self, jobs: int) -> None:
        new = [NewJob(text=f"pause {len(self.ids) + i}") for i in range(jobs)]
        self.ids += self._client.submit_many("scripted", new).ids


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--pause", type=float, default=3, help="seconds between kills, on average")
    parser.add_argument("--lease", type=float, default=5, help="seconds a lease lasts")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"seed          {options.seed}")
    folder = Path(tempfile.mkdtemp(prefix="labelmill-soak-"))
    with RedisServer() as redis_server, PostgresServer() as postgres_server:
        upgrade(postgres_server.url)
        workers = Workers(redis_server.url, postgres_server.url, folder)
        workers.configure(
            SCRIPTED_MODELS + "group_size = 32\n",
            lease_seconds=str(options.lease),
            # Whoever is killed at random may have the same job in its hands each time.
            max_attempts="99",
        )
        try:
            with workers.client() as client, Database.open(postgres_server.url) as database:
                freeze_results(database)
                soak = Soak(workers, client, database, random.Random(options.seed))
                capacity = soak.capacity()
                print(
                    f"capacity      {capacity:.0f} rows/s, of which half is submitted", flush=True
                )
                soak.kill_under_load(options.minutes * 60, capacity / 2, options.pause)
                soak.settle(timeout=60 + 4 * options.lease)
                fine = soak.report()
                with workers.broker() as broker:
                    wait_until_nothing_is_left(broker)
        finally:
            workers.stop()
    shutil.rmtree(folder)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
