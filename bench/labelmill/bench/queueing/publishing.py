"""How fast jobs are sent, by each way of sending them.

Measured from texts to messages in Redis, with no worker running: ids, validation, headers and (with
the ledger) the committed rows of ``jobs`` are all in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime

import redis

from labelmill.bench.errors import BenchmarkError
from labelmill.bench.queueing.databases import Database
from labelmill.bench.queueing.messages import messages
from labelmill.bench.queueing.stock import Sender
from labelmill.broker.publisher import Publisher
from labelmill.client import Client, NewJob
from labelmill.client.client import BLOCK_SIZE
from labelmill.core.ids import new_id
from labelmill.core.job import SubmittedJob, parse_job

_QUEUE = "published"


class Publishing:
    """Measures ways of sending jobs, in jobs a second.

    Parameters:
        url: the Redis to send to.
        jobs: how many to send each time.

    Each method:

    Raises:
        BenchmarkError: a message is missing in Redis.
    """

    def __init__(self, url: str, jobs: int) -> None:
        self._url = url
        self._jobs = jobs

    def submit_many(self, database: Database) -> float:
        """``Client.submit_many``, which writes the ledger first."""
        with Client(self._url, database.url) as client:
            return self._rate(
                lambda some: client.submit_many(_QUEUE, (NewJob(text=text) for text in some))
            )

    def publisher(self) -> float:
        """``Publisher.publish``, as many at a time as the client does, without a ledger."""
        with closing(Publisher(self._url)) as publisher:
            return self._rate(lambda some: _publish(publisher, some))

    def send_task(self) -> float:
        """Celery's ``send_task`` in a loop, as everybody writes it."""
        with closing(Sender(self._url, _QUEUE)) as sender:
            return self._rate(sender.send_each)

    def send_task_in_batch(self) -> float:
        """The same inside a ``Producer.batch``, new in kombu 5.7."""
        with closing(Sender(self._url, _QUEUE)) as sender:
            return self._rate(sender.send_batch)

    def _rate(self, send: Callable[[Sequence[str]], object]) -> float:
        send(messages(1))  # opens its connections
        some = messages(self._jobs)
        with redis.Redis.from_url(self._url) as broker:
            broker.delete(_QUEUE)
            start = time.perf_counter()
            send(some)
            seconds = time.perf_counter() - start
            if (sent := broker.llen(_QUEUE)) != self._jobs:
                raise BenchmarkError(f"{self._jobs} jobs were sent, {sent} are in Redis")
            broker.delete(_QUEUE)
        return self._jobs / seconds


def _publish(publisher: Publisher, some: Sequence[str]) -> None:
    for start in range(0, len(some), BLOCK_SIZE):
        publisher.publish([_submitted(text) for text in some[start : start + BLOCK_SIZE]])


def _submitted(text: str) -> SubmittedJob:
    job = parse_job({"text": text})
    return SubmittedJob.of(job, id=new_id(), model=_QUEUE, enqueued_at=datetime.now(UTC))
