"""A consumer group of the stream: readers that share the announcements, and lose none."""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import redis

from labelmill.broker.announcements import STREAM, JobFinished, entries_of
from labelmill.broker.connection import BROKER_ERRORS, broker_errors, open_broker

logger = logging.getLogger(__name__)

Entry = tuple[str, list[JobFinished]]

_LONGEST_BLOCK_SECONDS = 5.0
_ENTRIES_A_TAKE = 16
_ABANDONED_MS = 60_000  # an entry that nobody has touched for so long: its reader has ended
_FORGOTTEN_MS = 3_600_000
_GIVEN_UP_ENTRIES = 10_000


class ConsumerGroup:
    """One reader of a group. What it took and has not acknowledged is another's after a minute.

    Parameters:
        name: the group's; readers of one name share the announcements.

    Raises:
        BrokerUnavailable: from every method; Redis does not answer, or is full.
        ConfigurationError: it is no URL of a Redis.
    """

    def __init__(self, broker_url: str, name: str) -> None:
        self._broker = open_broker(broker_url, block_seconds=_LONGEST_BLOCK_SECONDS)
        self._name = name
        self._was_made = False
        self._reader = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"

    @property
    def given_up_key(self) -> str:
        """The list of what was given up, the newest on the left."""
        return f"labelmill:webhook:{self._name}:given-up"

    def join(self) -> None:
        """Make the group unless it is there: it begins with what is announced from now on.

        Made again by the same reader, it begins with all that there is.
        """
        with broker_errors():
            self._create("0" if self._was_made else "$")
            self._was_made = True
            try:
                self._delete_forgotten_readers()
            except redis.ResponseError as error:
                if not _is_of_lost_data(error):
                    raise  # else take makes the group again

    def take(self, block_ms: int) -> list[Entry]:
        """The oldest entries that a reader left, else the next new ones; none if none came.

        Parameters:
            block_ms: how long to wait for one, in milliseconds, more than 0, at most 5 s.
        """
        with broker_errors():
            try:
                return self._abandoned() or self._new(block_ms)
            except redis.ResponseError as error:
                if not _is_of_lost_data(error):
                    raise
        # All that the stream holds has come since.
        with broker_errors():
            self._create("0")
        return []

    def keep(self, entries: Sequence[Entry]) -> None:
        """Say that this reader is still at them."""
        with broker_errors():
            self._claim(entries)

    def leave(self, entries: Sequence[Entry]) -> None:
        """Give them back: another reader may have them at once."""
        with broker_errors():
            self._claim(entries, idle=_ABANDONED_MS)

    def acknowledge(self, entries: Sequence[Entry]) -> None:
        """Say that they are done."""
        with broker_errors():
            self._broker.xack(STREAM, self._name, *(entry_id for entry_id, _ in entries))

    def give_up(self, jobs: Sequence[JobFinished], reason: str) -> None:
        """Keep the ids of jobs that were not delivered, to be looked at and sent again."""
        value = json.dumps(
            {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "reason": reason,
                "jobs": [job["id"] for job in jobs],
            }
        )
        with broker_errors():
            self._broker.lpush(self.given_up_key, value)
            self._broker.ltrim(self.given_up_key, 0, _GIVEN_UP_ENTRIES - 1)

    def given_up(self) -> list[dict[str, Any]]:
        """What was given up, the newest first."""
        with broker_errors():
            values: Any = self._broker.lrange(self.given_up_key, 0, -1)
        return [json.loads(value) for value in values]

    def close(self) -> None:
        """Leave the group, unless something is still in this reader's hands."""
        try:
            pending: Any = self._broker.xpending_range(
                STREAM, self._name, "-", "+", 1, consumername=self._reader
            )
            if not pending:
                self._broker.xgroup_delconsumer(STREAM, self._name, self._reader)
        except BROKER_ERRORS:
            pass  # it is tidied up when the next one joins
        self._broker.close()

    def _create(self, beginning: str) -> None:
        try:
            self._broker.xgroup_create(STREAM, self._name, beginning, mkstream=True)
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def _delete_forgotten_readers(self) -> None:
        readers: Any = self._broker.xinfo_consumers(STREAM, self._name)
        for reader in readers:
            if reader["pending"] == 0 and reader["idle"] > _FORGOTTEN_MS:
                self._broker.xgroup_delconsumer(STREAM, self._name, reader["name"])

    def _abandoned(self) -> list[Entry]:
        reply: Any = self._broker.xautoclaim(
            STREAM, self._name, self._reader, _ABANDONED_MS, "0-0", count=_ENTRIES_A_TAKE
        )
        # Redis 6.2 names those that the stream no longer holds as nothing, 7 apart.
        present = [each for each in reply[1] if each[0] is not None and each[1] is not None]
        gone = len(reply[1]) - len(present) + (len(reply[2]) if len(reply) > 2 else 0)
        if gone:
            logger.error(
                "%d groups were cut off the stream before they were delivered; %s",
                gone,
                "labelmill webhook --since sends what finished since a time",
            )
            self._forget_cut_off()
        return entries_of(present)

    def _forget_cut_off(self) -> None:
        """Acknowledge what is in this reader's hands and no longer on the stream."""
        pending: Any = self._broker.xpending_range(
            STREAM, self._name, "-", "+", 1000, consumername=self._reader
        )
        for each in pending:
            entry_id = each["message_id"]
            if not self._broker.xrange(STREAM, entry_id, entry_id):
                self._broker.xack(STREAM, self._name, entry_id)

    def _new(self, block_ms: int) -> list[Entry]:
        last = self._last_delivered()
        reply: Any = self._broker.xreadgroup(
            self._name, self._reader, {STREAM: ">"}, count=_ENTRIES_A_TAKE, block=block_ms
        )
        if not reply:
            return []
        entries = entries_of(reply[0][1])
        if last != "0-0" and not self._broker.xrange(STREAM, last, last):
            logger.error(
                "the stream was cut: what finished from %s to %s may not have been delivered; %s",
                _time_of(last),
                _time_of(entries[0][0]),
                "labelmill webhook --since sends what finished since a time",
            )
        return entries

    def _last_delivered(self) -> str:
        groups: Any = self._broker.xinfo_groups(STREAM)
        return next(
            (
                group["last-delivered-id"].decode()
                for group in groups
                if group["name"] == self._name.encode()
            ),
            "0-0",
        )

    def _claim(self, entries: Sequence[Entry], idle: int = 0) -> None:
        if entries:
            self._broker.xclaim(
                STREAM,
                self._name,
                self._reader,
                0,
                [entry_id for entry_id, _ in entries],
                idle=idle,
                justid=True,
            )


def _is_of_lost_data(error: redis.ResponseError) -> bool:
    """Whether Redis has neither the group nor, it may be, the stream: it was there before."""
    return str(error).startswith(("NOGROUP", "UNBLOCKED", "no such key"))


def _time_of(entry_id: str) -> str:
    milliseconds = int(entry_id.partition("-")[0])
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
