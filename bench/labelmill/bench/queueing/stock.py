"""The peer: a stock Celery task a job (the worker's part is :mod:`.stock_app`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from celery import Celery

from labelmill.bench.queueing.process import WorkerProcess
from labelmill.bench.queueing.side import Input, Side
from labelmill.core.job import TASK_NAME

BROKER_VARIABLE = "BENCH_BROKER_URL"
DATABASE_VARIABLE = "BENCH_DATABASE_URL"

_RUN = "0199a1f0-6b1e-7c3a-9d53-5a0d3c1f2b77"  # our messages name their run, so these do too
_UNACKED = "unacked"  # kombu's hash of messages in flight


@dataclass(frozen=True)
class Pool:
    """How the peer runs its tasks.

    ``prefetch`` is Celery's ``worker_prefetch_multiplier``, of which 4 is the default.
    """

    kind: str
    processes: int = 1
    prefetch: int = 4

    def __str__(self) -> str:
        pool = self.kind if self.kind == "solo" else f"{self.kind} {self.processes}"
        return f"{pool}, prefetch {self.prefetch}"


POOLS = tuple(
    Pool(kind, processes, prefetch)
    for kind, processes in (("solo", 1), ("prefork", 1), ("prefork", 2))
    for prefetch in (4, 64)
)
"""What the peer's best is chosen from; ``prefork`` is what Celery takes by itself."""


class StockCelery(Side):
    """Stock Celery, with its defaults but for what makes it faster here.

    The worker writes no results into a result backend, and neither gossips nor mingles. Tasks are
    acknowledged when they start (Celery's default, ``acks_late`` off), which promises less than our
    side does; trials with ``acks_late`` were neither faster nor slower.
    """

    queue = "stock"

    def __init__(self, broker_url: str, database_url: str, pool: Pool) -> None:
        self._broker_url = broker_url
        self._database_url = database_url
        self._pool = pool
        self._sender = Sender(broker_url, self.queue)
        self._broker = redis.Redis.from_url(broker_url)

    def publish(self, inputs: Sequence[Input]) -> list[str]:
        """``send_task`` in a batch of kombu's, the fastest way it has."""
        return self._sender.send_batch([str(item) for item in inputs])

    def submit(self, item: Input) -> str:
        """``send_task``."""
        return self._sender.send(str(item))

    def worker(self, folder: Path) -> WorkerProcess:
        """``celery worker`` on the one queue."""
        pool = self._pool
        arguments = [
            *("celery", "-A", "labelmill.bench.queueing.stock_app", "worker", "-Q", self.queue),
            *("--pool", pool.kind, "--concurrency", str(pool.processes)),
            *("--prefetch-multiplier", str(pool.prefetch)),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ]
        settings = {BROKER_VARIABLE: self._broker_url, DATABASE_VARIABLE: self._database_url}
        return WorkerProcess(arguments, folder, settings)

    def in_flight(self) -> int:
        """Messages that kombu keeps as unacknowledged."""
        return int(self._broker.hlen(_UNACKED))

    def close(self) -> None:
        """Give up the connections."""
        self._sender.close()
        self._broker.close()


class Sender:
    """Publishes tasks with a stock Celery app that does not have their code."""

    def __init__(self, broker_url: str, queue: str) -> None:
        self._queue = queue
        self._app = Celery("sender", broker=broker_url, set_as_current=False)
        self._app.conf.update(task_ignore_result=True)

    def send(self, text: str) -> str:
        """One ``send_task``."""
        answer = self._app.send_task(
            TASK_NAME, kwargs={"text": text, "run": _RUN}, queue=self._queue, ignore_result=True
        )
        return str(answer.id)

    def send_each(self, texts: Sequence[str]) -> list[str]:
        """``send_task`` in a loop: what everybody writes."""
        return [self.send(text) for text in texts]

    def send_batch(self, texts: Sequence[str]) -> list[str]:
        """``send_task`` in a loop inside ``Producer.batch`` (new in kombu 5.7): pipelined."""
        with self._batch() as options:
            return [
                self._app.send_task(
                    TASK_NAME,
                    kwargs={"text": text, "run": _RUN},
                    queue=self._queue,
                    ignore_result=True,
                    **options,
                ).id
                for text in texts
            ]

    def close(self) -> None:
        """Give up the connections."""
        self._app.close()

    @contextmanager
    def _batch(self) -> Iterator[dict[str, object]]:
        with self._app.producer_pool.acquire(block=True) as producer, producer.batch():
            yield {"producer": producer}
