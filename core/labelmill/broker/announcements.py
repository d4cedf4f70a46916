"""The announcements: what is said of finished jobs on the stream ``labelmill:finished``.

The worker that acknowledges a group appends one entry for it, in the same step: its field ``jobs``
is a JSON list of :class:`JobFinished`. Each follows its committed row, and may come twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypedDict

from pydantic_core import from_json

from labelmill.broker.connection import broker_errors, open_broker
from labelmill.core.closing import Closeable
from labelmill.core.result import Result
from labelmill.core.states import Status
from labelmill.core.text import json_bytes

STREAM = "labelmill:finished"
FIELD = b"jobs"

_LONGEST_BLOCK_MS = 30_000
_GROUPS_A_READ = 100


class JobFinished(TypedDict):
    """What is said of one finished job: some of its row, under the names that it has there.

    But for ``run``, which is ``run_id`` there.
    """

    id: str
    model: str
    run: str | None
    status: Literal["succeeded", "failed"]
    label: str | None
    score: float | None
    error_code: str | None


def of_results(results: Iterable[Result]) -> list[JobFinished]:
    """What is said of these rows."""
    return [
        {
            "id": result.id,
            "model": result.model,
            "run": result.run_id,
            # An enumeration's member is slow to ask for its value, and to encode.
            "status": "succeeded" if result.status is Status.SUCCEEDED else "failed",
            "label": result.label,
            "score": result.score,
            "error_code": result.error_code,
        }
        for result in results
    ]


def encode(jobs: Sequence[JobFinished]) -> bytes:
    """The value of an entry's field ``jobs``."""
    return json_bytes(jobs)


def decode(value: bytes) -> list[JobFinished]:
    """What an entry says: the jobs of its field ``jobs``.

    Raises:
        ValueError: it is no list of objects in JSON; no worker wrote it.
    """
    jobs: list[JobFinished] = from_json(value)
    if not isinstance(jobs, list) or not all(isinstance(job, dict) for job in jobs):
        raise ValueError("an entry's field 'jobs' is a list of objects")
    return jobs


class AnnouncementStream(Closeable):
    """Reads ``labelmill:finished``; each reader gets every announcement. Safe between threads.

    The stream keeps the newest groups, by default about 2,000 (LABELMILL_ANNOUNCEMENTS): who was
    away for longer has missed some, and finds their rows in the database.

    Parameters:
        broker_url: the Redis to read from.

    Raises:
        ConfigurationError: it is no URL of a Redis.
    """

    def __init__(self, broker_url: str) -> None:
        self._broker = open_broker(broker_url, block_seconds=_LONGEST_BLOCK_MS / 1000)

    def newest(self) -> str:
        """The id of the newest entry, to begin with what comes after it.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        with broker_errors():
            entries: Any = self._broker.xrevrange(STREAM, count=1)
        return entries[0][0].decode() if entries else "0-0"

    def oldest(self) -> str | None:
        """The id of the oldest entry that the stream keeps; None while it is empty.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        with broker_errors():
            entries: Any = self._broker.xrange(STREAM, count=1)
        return entries[0][0].decode() if entries else None

    def read(self, after: str, block_ms: int) -> list[tuple[str, list[JobFinished]]]:
        """The entries after one, oldest first, at most some at a time; empty if none came in time.

        Parameters:
            after: the id of the last entry that was read; ``"0"`` for all that the stream keeps.
            block_ms: how long to wait for one, in milliseconds, at most 30 s; 0 for not at all.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        with broker_errors():
            reply: Any = self._broker.xread(
                {STREAM: after},
                count=_GROUPS_A_READ,
                block=min(block_ms, _LONGEST_BLOCK_MS) or None,  # Redis would wait for ever at 0
            )
        return entries_of(reply[0][1]) if reply else []

    def close(self) -> None:
        """Give up the connections."""
        self._broker.close()


def entries_of(
    reply: list[tuple[bytes, dict[bytes, bytes]]],
) -> list[tuple[str, list[JobFinished]]]:
    """The entries of a stream as redis-py has them; what no worker wrote counts for nothing."""
    entries = []
    for entry_id, fields in reply:
        try:
            announcements = decode(fields[FIELD])
        except (KeyError, ValueError):
            announcements = []
        entries.append((entry_id.decode(), announcements))
    return entries
