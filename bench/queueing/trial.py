"""One trial: a side's jobs through one worker into a fresh database.

How the clock runs, the same for both sides:

1. The jobs are published while no worker runs, and the list that they wait on is renamed, so that
   the worker does not see it.
2. A worker starts and does a few hundred jobs of its own, until its connections are open and its
   code is warm, and has nothing in flight any more: it is ready and idle.
3. The list is renamed back. This is one atomic step, by which all jobs wait in the queue at once,
   and wakes an idle worker. **The clock starts right before it, and stops when the last row is
   seen committed.**

So neither the start of a process nor the speed of a publisher is in the figure, and nothing that
belongs to the work is left out: waking up, the first and partial groups, the last commit. Rows are
counted from outside, over a connection of our own, in short intervals and only when the list is
empty, since counting takes time from the worker that is measured.

Then, on the same worker, jobs are sent one at a time, with a short rest between: the latency is
from before the call that sends a job until its committed row is seen.

At the end every job that was ever sent must have exactly one row, and succeeded.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from bench.queueing.databases import Database
from bench.queueing.errors import BenchmarkError
from bench.queueing.process import WorkerProcess
from bench.queueing.side import Side
from bench.queueing.texts import texts

_WARM_UP_JOBS = 500
_HELD = "held"
_NO_PROGRESS_S = 60
_COUNT_PAUSE_S = 0.002
_LIST_PAUSE_S = 0.02
_LOOK_PAUSE_S = 0.0002
_REST_S = 0.01  # so that each job finds a worker that waits


@dataclass(frozen=True)
class Figures:
    """What one trial measured.

    Attributes:
        rate: jobs a second, from waiting in the queue to committed rows.
        cpu: seconds of processor time a job in the worker's processes, meanwhile.
        latencies: seconds from sending a lone job to its row.
    """

    rate: float
    cpu: float
    latencies: list[float]


def run_trial(
    side: Side, broker: redis.Redis, database: Database, *, jobs: int, lone_jobs: int
) -> Figures:
    """Measure one side once.

    Parameters:
        jobs: how many are published together.
        lone_jobs: how many are then sent one at a time.

    Raises:
        BenchmarkError: a row is missing, or the worker ended or stands still.
    """
    broker.flushdb()
    ids = side.publish(texts(jobs))
    broker.rename(side.queue, _HELD)

    ids += side.publish(texts(_WARM_UP_JOBS))
    with _running_worker(side) as worker:
        trial = _Trial(side, broker, database, worker)
        trial.wait_for_rows(_WARM_UP_JOBS)
        trial.wait_idle()

        cpu, start = worker.cpu_seconds(), time.perf_counter()
        broker.rename(_HELD, side.queue)
        trial.wait_for_rows(_WARM_UP_JOBS + jobs)
        rate = jobs / (time.perf_counter() - start)
        cpu = (worker.cpu_seconds() - cpu) / jobs

        trial.wait_idle()
        latencies = []
        for text in texts(lone_jobs):
            start = time.perf_counter()
            job_id = side.submit(text)
            trial.wait_for_row(job_id)
            latencies.append(time.perf_counter() - start)
            ids.append(job_id)
            time.sleep(_REST_S)
    _verify(ids, database)
    return Figures(rate, cpu, latencies)


@contextmanager
def _running_worker(side: Side) -> Iterator[WorkerProcess]:
    with (
        tempfile.TemporaryDirectory(prefix="labelmill-bench-") as folder,
        side.worker(Path(folder)) as worker,
    ):
        yield worker


class _Trial:
    """Waits for what the worker does."""

    def __init__(
        self, side: Side, broker: redis.Redis, database: Database, worker: WorkerProcess
    ) -> None:
        self._side = side
        self._broker = broker
        self._database = database
        self._worker = worker

    def wait_for_rows(self, number: int) -> None:
        # An empty list is the cheap sign that the last rows are near.
        self._wait_falling(lambda: int(self._broker.llen(self._side.queue)), _LIST_PAUSE_S)
        self._wait_falling(lambda: number - self._database.count(), _COUNT_PAUSE_S)

    def wait_idle(self) -> None:
        self._wait_falling(self._side.in_flight, _COUNT_PAUSE_S)

    def wait_for_row(self, job_id: str) -> None:
        self._wait_falling(lambda: int(not self._database.has(job_id)), _LOOK_PAUSE_S)

    def _wait_falling(self, left: Callable[[], int], pause: float) -> None:
        """Wait until ``left`` is 0; it must fall now and then."""
        lowest, deadline = None, 0.0
        while now_left := left():
            if lowest is None or now_left < lowest:
                lowest, deadline = now_left, time.monotonic() + _NO_PROGRESS_S
            elif time.monotonic() > deadline:
                raise BenchmarkError(
                    f"{now_left} jobs are left and the worker stands still:\n{self._worker.log()}"
                )
            self._worker.check()
            time.sleep(pause)


def _verify(ids: list[str], database: Database) -> None:
    rows, succeeded = database.count(), database.succeeded()
    missing = len(set(ids) - set(succeeded))
    if missing or rows != len(ids) or len(succeeded) != len(ids):
        raise BenchmarkError(
            f"{len(ids)} jobs were sent; {rows} rows were written, {len(succeeded)} of them"
            f" succeeded, {missing} jobs have none"
        )
