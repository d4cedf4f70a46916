"""The stream of announcements, for a reader that wants each of them from some moment on."""

from __future__ import annotations

from typing import Any

from labelmill.broker.connection import broker_errors, open_broker
from labelmill.broker.events import FIELD, STREAM, JobFinished, decode
from labelmill.core.closing import Closeable

_ANSWER_SECONDS = 5
_LONGEST_BLOCK_MS = 30_000
_GROUPS_A_READ = 100


class EventStream(Closeable):
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
