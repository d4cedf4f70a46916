"""One trial: a side's jobs through its workers into a fresh database.

How the clock runs, the same for both sides:

1. The jobs are published while no worker runs, and the list that they wait on is renamed, so that
   no worker sees it.
2. The workers start and do some jobs of their own, until their connections are open and their
   code is warm, and have nothing in flight any more: they are ready and idle.
3. The list is renamed back. This is one atomic step, by which all jobs wait in the queue at once,
   and wakes an idle worker. **The clock starts right before it, and stops when the last row is
   seen committed.**

So neither the start of a process nor the speed of a publisher is in the figure, and nothing that
belongs to the work is left out: waking up, the first and partial groups, the last commit. Rows are
counted from outside, over a connection of our own, in short intervals and only when the list is
empty, since counting takes time from the worker that is measured.

Then, on the same workers, jobs are sent one at a time, with a short rest between: the latency is
from before the call that sends a job until its committed row is seen.

At the end every job that was ever sent must have exactly one row, and succeeded, but for those that
are there to fail.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from labelmill.bench.errors import BenchmarkError
from labelmill.bench.queueing.databases import Database
from labelmill.bench.queueing.process import WorkerProcess
from labelmill.bench.queueing.side import Input, Side
from labelmill.bench.queueing.watch import Watch

_HELD = "held"
_REST_S = 0.01  # so that each job finds a worker that waits


@dataclass(frozen=True)
class Figures:
    """What one trial measured.

    Attributes:
        rate: jobs a second, from waiting in the queue to committed rows.
        cpu: seconds of processor time a job in the workers' processes, meanwhile.
        latencies: seconds from sending a lone job to its row.
    """

    rate: float
    cpu: float
    latencies: list[float]


@dataclass(frozen=True)
class Load:
    """What is sent in a trial.

    Attributes:
        inputs: sent together; the measured ones.
        warm_up: sent before them, not measured.
        lone: sent one at a time after them.
        failures: the error codes that the jobs among these must end with that fail.
    """

    inputs: Sequence[Input]
    warm_up: Sequence[Input]
    lone: Sequence[Input] = ()
    failures: Sequence[str] = ()


def run_trial(
    side: Side,
    broker: redis.Redis,
    database: Database,
    load: Load,
    *,
    replicas: int = 1,
    during: Callable[[Watch, Sequence[WorkerProcess]], None] | None = None,
) -> Figures:
    """Measure one side once.

    Parameters:
        broker: is emptied first.
        database: an empty one.
        replicas: how many workers.
        during: called when the clock has started, to look at the workers meanwhile.

    Raises:
        BenchmarkError: a row is missing, or a worker ended or stands still.
    """
    broker.flushdb()
    ids = side.publish(load.inputs)
    broker.rename(side.queue, _HELD)

    with _running(side, replicas) as workers:
        watch = Watch(side, broker, database, workers)
        watch.wait_ready()
        ids += side.publish(load.warm_up)
        watch.wait_for_rows(len(load.warm_up))
        watch.wait_idle()

        cpu, start = _cpu_seconds(workers), time.perf_counter()
        broker.rename(_HELD, side.queue)
        if during:
            during(watch, workers)
        watch.wait_for_rows(len(ids))
        rate = len(load.inputs) / (time.perf_counter() - start)
        cpu = (_cpu_seconds(workers) - cpu) / len(load.inputs)

        watch.wait_idle()
        latencies = []
        for item in load.lone:
            start = time.perf_counter()
            job_id = side.submit(item)
            watch.wait_for_row(job_id)
            latencies.append(time.perf_counter() - start)
            ids.append(job_id)
            time.sleep(_REST_S)
    _verify(ids, database, load.failures)
    return Figures(rate, cpu, latencies)


@contextmanager
def _running(side: Side, replicas: int) -> Iterator[list[WorkerProcess]]:
    with ExitStack() as stack:
        folders = [
            stack.enter_context(tempfile.TemporaryDirectory(prefix="labelmill-bench-"))
            for _ in range(replicas)
        ]
        yield [stack.enter_context(side.worker(Path(folder))) for folder in folders]


def _cpu_seconds(workers: Sequence[WorkerProcess]) -> float:
    return sum(worker.cpu_seconds() for worker in workers)


def _verify(ids: list[str], database: Database, failures: Sequence[str]) -> None:
    rows, succeeded, failed = database.count(), database.succeeded(), database.failures()
    expected = len(ids) - len(failures)
    strangers = set(succeeded) - set(ids)
    if (
        strangers
        or rows != len(ids)
        or len(succeeded) != expected
        or sorted(failed) != sorted(failures)
    ):
        raise BenchmarkError(
            f"{len(ids)} jobs were sent, of which {expected} should succeed; {rows} rows were"
            f" written, {len(succeeded)} of them succeeded, {len(strangers)} of those are of other"
            f" jobs, and the failures are {sorted(set(failed))}"
        )
