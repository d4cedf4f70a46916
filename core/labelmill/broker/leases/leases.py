"""The leases: how a worker takes, renews, acknowledges and gives back jobs, a Lua call each.

A *delivery* is one message taken from a list; its number never changes. Each time it is handed out
its *attempt* number grows, and every later call names both: a worker whose lease was claimed by
another holds an old attempt number and changes nothing. Times are the Redis server's.

An attempt counts against a job from when its worker began with it until it is known that the worker
has outlived it. A group whose reply was lost is handed out again to the call that is repeated, and
goes back uncounted if that never comes.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import redis

from labelmill.broker.announcements import STREAM, JobFinished, encode
from labelmill.broker.queues import DEAD_LISTS, QueueKeys
from labelmill.broker.scripts import script, text_of
from labelmill.core.text import storable_text

logger = logging.getLogger(__name__)

_Item = TypeVar("_Item")

_FOLDER = Path(__file__).parent

#: The most leases of one call: more would hold up the server, and everybody with it.
MAX_LEASES = 1024


class Lease(NamedTuple):
    """One job in this worker's hands until its deadline.

    ``attempt`` counts how often it was handed out, and is the fencing token; ``excused`` is how
    many of those did not end their worker.
    """

    queue: str
    delivery: bytes
    attempt: int
    list_number: int
    message: bytes
    excused: int = 0

    @property
    def starts(self) -> int:
        """How often it was begun by a worker that may have died of it, this time included."""
        return self.attempt - self.excused


@dataclass(frozen=True, slots=True)
class Taken:
    """What one call of :meth:`Leases.take` brought.

    ``expired`` leases wait for a worker with empty hands; ``due_in`` is the time in seconds until
    the queue's next deadline or eta, where there is one.
    """

    leases: list[Lease]
    expired: int
    due_in: float | None


class Leases:
    """The leases of all queues on one Redis.

    Parameters:
        broker: a client with ``decode_responses`` off; one connection is used at a time.
        duration: how long a lease lasts unless renewed, in seconds.
        entries_kept: about how many groups the stream of announcements keeps; 0 for no stream.
    """

    def __init__(self, broker: redis.Redis, duration: float, entries_kept: int = 0) -> None:
        self.duration = duration
        self._entries_kept = entries_kept
        self._unannounced = 0
        self._milliseconds = int(duration * 1000)
        self._broker = broker
        # What one worker calls itself here, and the number of its next take, by queue. A number is
        # used until its group is known to be here, so that a call can be repeated.
        self._worker = secrets.token_hex(8)
        self._calls: dict[str, int] = {}
        self._take = script(broker, _FOLDER / "take.lua")
        self._notes = _Notes(broker, text_of(_FOLDER / "start.lua"))
        self._renew = script(broker, _FOLDER / "renew.lua")
        self._ack = script(broker, _FOLDER / "ack.lua")
        self._release = script(broker, _FOLDER / "release.lua")
        self._delay = script(broker, _FOLDER / "delay.lua")
        seconds, microseconds = broker.time()
        self._set_clock(seconds + microseconds / 1e6)

    @property
    def announces(self) -> bool:
        """Whether finished jobs are announced at all."""
        return self._entries_kept > 0

    def now(self) -> datetime:
        """The time by the server's clock, carried on from its last answer."""
        return datetime.fromtimestamp(self._clock_offset + time.monotonic(), UTC)

    def take(self, queue: str, limit: int, *, claim: bool) -> Taken:
        """Take up to ``limit`` jobs, or one whose lease has expired (see ``take.lua``).

        Parameters:
            limit: at most :data:`MAX_LEASES`.
            claim: whether this worker's hands are empty, so that it may have an expired lease.

        Raises:
            redis.RedisError: Redis does not answer. What was taken comes with the next call for
                this queue, or goes back when its lease expires.
        """
        call = self._calls.setdefault(queue, 1)
        taken = self._hand_out(queue, limit, call, claim=claim)
        if taken.leases:
            self._calls[queue] = call + 1
            self._notes.send(QueueKeys(queue).unstarted, self._worker, call)
        return taken

    def _hand_out(self, queue: str, limit: int, call: int, *, claim: bool) -> Taken:
        keys = QueueKeys(queue)
        now, expired, due, flat, forgiven = self._take(
            keys=[
                keys.messages,
                keys.attempts,
                keys.deadlines,
                keys.delayed,
                keys.deliveries,
                keys.unstarted,
                keys.excused,
                keys.seen,
                *keys.lists,
            ],
            args=[limit, self._milliseconds, int(claim), self._worker, call],
        )
        self._set_clock(int(now) / 1000)
        excused = {
            delivery: len(attempts.split())
            for delivery, attempts in zip(forgiven[::2], forgiven[1::2], strict=True)
        }
        leases = [
            Lease(
                queue,
                flat[i],
                int(flat[i + 1]),
                int(flat[i + 2]),
                flat[i + 3],
                excused.get(flat[i], 0),
            )
            for i in range(0, len(flat), 4)
        ]
        due_in = max(0.0, (int(due) - int(now)) / 1000) if int(due) else None
        return Taken(leases, int(expired), due_in)

    def renew(self, queue: str, leases: Sequence[Lease]) -> set[bytes]:
        """Renew leases of one queue; returns the deliveries that are no longer ours."""
        keys = QueueKeys(queue)
        lost: set[bytes] = set()
        for some in portions(leases):
            arguments = [self._milliseconds, *_tokens(some)]
            lost.update(
                self._renew(keys=[keys.attempts, keys.deadlines, keys.excused], args=arguments)
            )
        return lost

    def ack(
        self, queue: str, leases: Sequence[Lease], announced: Sequence[JobFinished] = ()
    ) -> set[bytes]:
        """Acknowledge jobs of one queue after their rows are committed, and announce them.

        They are at most :data:`MAX_LEASES`.

        Returns the deliveries that were no longer ours; those are left alone.
        """
        return self._acknowledge(queue, leases, announced)

    def bury(
        self, queue: str, leases: Sequence[Lease], announced: Sequence[JobFinished] = ()
    ) -> set[bytes]:
        """Like :meth:`ack`, and keep the messages on the list of dead letters."""
        return self._acknowledge(queue, leases, announced, QueueKeys(queue).dead, DEAD_LISTS)

    def explain(self, queue: str, reasons: Mapping[str, str]) -> None:
        """Keep, by the ids of jobs, why they are about to be buried.

        Where Redis is full there is no reason, but the letters.
        """
        by_id: dict[Any, Any] = {storable_text(id): reason for id, reason in reasons.items()}
        try:
            self._broker.hset(QueueKeys(queue).dead_reasons, mapping=by_id)
        except redis.exceptions.OutOfMemoryError:
            logger.warning(
                "Redis is full: the reasons of %d dead letters are not kept", len(reasons)
            )

    def release(self, queue: str, leases: Sequence[Lease]) -> int:
        """Give back jobs of one queue that were not started; returns how many were still ours."""
        keys = QueueKeys(queue)
        newest_first = sorted(leases, key=lambda lease: int(lease.delivery), reverse=True)
        released = 0
        for some in portions(newest_first):
            arguments = [
                value
                for lease in some
                for value in (lease.delivery, lease.attempt, lease.list_number)
            ]
            released += int(
                self._release(
                    keys=[keys.messages, keys.attempts, keys.deadlines, *keys.lists],
                    args=arguments,
                )
            )
        return released

    def leave(self) -> None:
        """Take back what was noted of the last groups, and give up a connection.

        A group whose reply was lost goes back when its lease expires.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        self._notes.close()
        for queue, call in self._calls.items():
            key = QueueKeys(queue).unstarted
            kept = cast("bytes | None", self._broker.hget(key, self._worker))
            if kept is not None and kept.startswith((b"%d+" % (call - 1), b"%d " % (call - 1))):
                self._broker.hdel(key, self._worker)

    def delay(self, lease: Lease, eta: datetime) -> bool:
        """Put a job aside until its eta; False where its lease was lost."""
        keys = QueueKeys(lease.queue)
        return bool(
            self._delay(
                keys=[keys.attempts, keys.deadlines, keys.delayed, keys.excused],
                args=[lease.delivery, lease.attempt, int(eta.timestamp() * 1000)],
            )
        )

    def _acknowledge(
        self, queue: str, leases: Sequence[Lease], announced: Sequence[JobFinished], *dead: str
    ) -> set[bytes]:
        keys = QueueKeys(queue)
        announcement = encode(announced) if announced and self.announces else b""
        lost, refusal = self._ack(
            keys=[keys.messages, keys.attempts, keys.deadlines, keys.excused, STREAM, *dead],
            args=[announcement, self._entries_kept, *_tokens(leases)],
        )
        self._note_refusal(refusal, len(announced))
        return set(lost)

    def _note_refusal(self, refusal: bytes, jobs: int) -> None:
        """Say once that announcements are refused, and once what became of it."""
        if refusal:
            if not self._unannounced:
                logger.warning(
                    "Redis takes no announcements of finished jobs (%s); their rows are written",
                    refusal.decode(errors="replace").strip(),
                )
            self._unannounced += jobs
        elif self._unannounced and jobs:
            logger.warning("%d finished jobs were not announced", self._unannounced)
            self._unannounced = 0

    def _set_clock(self, server_time: float) -> None:
        self._clock_offset = server_time - time.monotonic()


class _Notes:
    """Notes that groups were begun, without waiting for the answers.

    What is sent gets there, though the job should end this process at once. A note that does not,
    because Redis is away at that moment, is made up for by the next take of the same worker.
    """

    def __init__(self, broker: redis.Redis, script: str) -> None:
        self._connection: Any = broker.connection_pool.make_connection()
        self._script = script  # whole, as nobody is there to send it again to one who forgot it
        self._awaited = False

    def send(self, key: str, worker: str, call: int) -> None:
        self.settle()
        with self._closing_on_errors():
            self._connection.send_command("EVAL", self._script, 1, key, worker, call)
            self._awaited = True

    def settle(self) -> None:
        """Read the last answer."""
        if self._awaited:
            self._awaited = False
            with self._closing_on_errors():
                self._connection.read_response()

    def close(self) -> None:
        self._awaited = False
        self._connection.disconnect()

    @contextmanager
    def _closing_on_errors(self) -> Iterator[None]:
        try:
            yield
        except (redis.RedisError, OSError):
            self.close()


def portions(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """The items in as few portions of at most :data:`MAX_LEASES` as there can be."""
    return (items[start : start + MAX_LEASES] for start in range(0, len(items), MAX_LEASES))


def _tokens(leases: Iterable[Lease]) -> Iterable[bytes | int]:
    for lease in leases:
        yield lease.delivery
        yield lease.attempt
