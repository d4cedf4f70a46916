"""The watch: waits for what workers do, and notices when they do nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import redis

from labelmill.bench.errors import BenchmarkError
from labelmill.bench.queueing.databases import Database
from labelmill.bench.queueing.process import WorkerProcess
from labelmill.bench.queueing.side import Side

_NO_PROGRESS_S = 60
_COUNT_PAUSE_S = 0.002
_LIST_PAUSE_S = 0.02
_LOOK_PAUSE_S = 0.0002


class Watch:
    """Waits, from outside, for the workers of a side.

    Each method:

    Raises:
        BenchmarkError: a worker ended, or there was no progress for a minute.
    """

    def __init__(
        self,
        side: Side,
        broker: redis.Redis,
        database: Database,
        workers: Sequence[WorkerProcess],
    ) -> None:
        self._side = side
        self._broker = broker
        self._database = database
        self._workers = workers

    def waiting(self) -> int:
        """How many jobs wait in Redis."""
        return int(self._broker.llen(self._side.queue))

    def wait_ready(self) -> None:
        """Wait until all workers are there, as far as the side can tell."""
        number = len(self._workers)
        self._wait_falling(lambda: int(not self._side.ready(number)), _LIST_PAUSE_S)

    def wait_for_rows(self, number: int) -> None:
        """Wait until there are that many rows."""
        # An empty list is the cheap sign that the last rows are near.
        self._wait_falling(self.waiting, _LIST_PAUSE_S)
        self._wait_falling(lambda: number - self._database.count(), _COUNT_PAUSE_S)

    def wait_idle(self) -> None:
        """Wait until nothing is in flight."""
        self._wait_falling(self._side.in_flight, _COUNT_PAUSE_S)

    def wait_for_row(self, job_id: str) -> None:
        """Wait until that job has its row."""
        self._wait_falling(lambda: int(not self._database.has(job_id)), _LOOK_PAUSE_S)

    def _wait_falling(self, left: Callable[[], int], pause: float) -> None:
        """Wait until ``left`` is 0; it must fall now and then."""
        lowest, deadline = None, 0.0
        while now_left := left():
            if lowest is None or now_left < lowest:
                lowest, deadline = now_left, time.monotonic() + _NO_PROGRESS_S
            elif time.monotonic() > deadline:
                logs = "\n".join(worker.log() for worker in self._workers)
                raise BenchmarkError(f"{now_left} are left and the worker stands still:\n{logs}")
            for worker in self._workers:
                worker.check()
            time.sleep(pause)
