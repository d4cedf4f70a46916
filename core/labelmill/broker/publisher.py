"""Publishing: jobs onto Redis lists, many in one round trip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

import redis

from labelmill.broker import message
from labelmill.broker.announcements import FIELD, STREAM, encode, of_results
from labelmill.broker.connection import (
    BROKER_ERRORS,
    broker_errors,
    connection_pool,
    reason_of,
)
from labelmill.broker.queues import QueueKeys
from labelmill.broker.removal import Removal
from labelmill.core.errors import BrokerUnavailable
from labelmill.core.job import SubmittedJob
from labelmill.core.result import Result

_CONNECTIONS = 8  # threads that publish at the same moment; more wait for each other
_COMMAND_BYTES = 1024 * 1024  # sent in one command; a message more, where it ends in the middle


@dataclass(frozen=True, slots=True)
class CheckpointHash:
    """A hash in Redis that says what was published; it lives for ``lifetime`` seconds."""

    key: str
    fields: Mapping[Any, str]
    lifetime: int


class Publisher:
    """Publishes jobs as Celery messages; safe to share between threads.

    kombu would write the same messages, at several times the cost a job.

    Parameters:
        broker_url: the Redis to publish to.
        entries_kept: about how many groups the stream of announcements keeps; 0 for no stream.

    Raises:
        ConfigurationError: it is no URL of a Redis.
    """

    def __init__(self, broker_url: str, entries_kept: int = 0) -> None:
        self._broker = redis.Redis.from_pool(connection_pool(broker_url, most=_CONNECTIONS))
        self._entries_kept = entries_kept

    def publish(
        self, jobs: Sequence[SubmittedJob], checkpoint: CheckpointHash | None = None
    ) -> None:
        """Publish jobs, in their order.

        Parameters:
            checkpoint: written down in one transaction with them: all of it is done, or nothing.

        Raises:
            BrokerUnavailable: Redis does not answer or refuses; some may have been published.
        """
        try:
            with self._broker.pipeline(transaction=True) if checkpoint else nullcontext() as pipe:
                for name, some in _by_list(jobs).items():
                    for messages in _commands(map(message.encode, some)):
                        (pipe or self._broker).lpush(name, *messages)
                if pipe is not None and checkpoint is not None:
                    pipe.hset(checkpoint.key, mapping=dict(checkpoint.fields))
                    pipe.expire(checkpoint.key, checkpoint.lifetime)
                    pipe.execute()
        except BROKER_ERRORS as error:
            raise BrokerUnavailable(
                f"Redis does not take jobs: {reason_of(error)}; "
                "check LABELMILL_BROKER_URL, that the server runs (labelmill up?) and has memory; "
                "then submit again"
            ) from error

    def withdraw(self, result: Result) -> None:
        """Take a job that was cancelled out of its queue, and announce its row.

        One that a worker has in hand stays there, and finds its row written.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        Removal(self._broker).remove(result.model, result.id)
        if self._entries_kept:
            with broker_errors():
                self._broker.xadd(
                    STREAM,
                    {FIELD: encode(of_results([result]))},
                    maxlen=self._entries_kept,
                    approximate=True,
                )

    def close(self) -> None:
        """Give up the connections."""
        self._broker.close()


def _by_list(jobs: Sequence[SubmittedJob]) -> dict[str, list[SubmittedJob]]:
    lists: dict[str, list[SubmittedJob]] = {}
    for (model, priority), some in groupby(jobs, attrgetter("model", "priority")):
        lists.setdefault(QueueKeys(model).list_name(priority), []).extend(some)
    return lists


def _commands(messages: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The messages, in lists of about ``_COMMAND_BYTES``."""
    command: list[bytes] = []
    size = 0
    for each in messages:
        command.append(each)
        size += len(each)
        if size >= _COMMAND_BYTES:
            yield command
            command, size = [], 0
    if command:
        yield command
