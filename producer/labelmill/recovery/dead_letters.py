"""Dead letters: the messages of jobs that ended their worker each time, or whose rows the database
refused.

Such a job has its row, ``failed / poisoned`` or ``failed / unstorable``, and a row once written
never changes. So a letter is replayed as a new job, with a row of its own, under an id that names
the old one: ``a`` becomes ``a:replay1``, and that, should it die too, ``a:replay2``. Where the
database refused even the row that says so, the job has none, and is replayed as itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import redis

from labelmill.broker import message
from labelmill.broker.connection import broker_errors
from labelmill.broker.older import keys_of_older
from labelmill.broker.queues import DEAD_LISTS, QueueKeys
from labelmill.broker.scripts import script
from labelmill.core.errors import JobError
from labelmill.core.ids import MAX_ID_LENGTH
from labelmill.core.job import MAX_PRIORITY, SubmittedJob
from labelmill.core.text import storable_text
from labelmill.db.database import Database

_SCRIPT = Path(__file__).with_name("replay.lua")
_PAGE = 100  # letters, which may hold images, in memory at a time

_REPLAY = re.compile(r"(.*):replay([1-9]\d*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter, as it lies in Redis and as it reads."""

    queue: str
    raw: bytes
    content: message.Message
    reason: str | None = None
    """The database's words, where the job has no row since it refused each: replayed as itself."""

    @property
    def id(self) -> str:
        """The id of the job that died."""
        return self.content.id

    @property
    def replay_id(self) -> str:
        """The id of the job as which it is replayed."""
        return replay_id(self.id) if self.reason is None else self.id


class DeadLetters:
    """The dead letters of all queues.

    Parameters:
        broker: a client with ``decode_responses`` off.
        database: the results database, whose ledger gets what is replayed.

    Every method:

    Raises:
        BrokerUnavailable: Redis does not answer.
    """

    def __init__(self, broker: redis.Redis, database: Database) -> None:
        self._broker = broker
        self._database = database
        self._replay = script(broker, _SCRIPT)

    def queues(self) -> list[str]:
        """The queues that have dead letters.

        Raises:
            DatabaseUnavailable: the database is away; it knows of queues that Redis does not.
        """
        before, after = QueueKeys("\0").dead.split("\0")
        known = [QueueKeys(lane.model).dead for lane in self._database.jobs.lanes()]
        with broker_errors():
            lists = cast("set[bytes]", self._broker.smembers(DEAD_LISTS))
            older = keys_of_older(self._broker, f"{before}*{after}")
            keys = sorted({*known, *(key.decode() for key in (*lists, *older))})
            with self._broker.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.llen(key)
                lengths = pipe.execute()
        return [
            key.removeprefix(before).removesuffix(after)
            for key, length in zip(keys, lengths, strict=True)
            if length
        ]

    def of(self, queue: str) -> Iterator[DeadLetter]:
        """The dead letters of a queue, the newest first; each may be taken off when it comes."""
        dead = QueueKeys(queue).dead
        with broker_errors():
            count = self._broker.llen(dead)
        # Counted from the old end: neither letters that come meanwhile nor those that the caller
        # takes off move what is still to come.
        for first in range(count, 0, -_PAGE):
            last = max(first - _PAGE + 1, 1)
            with broker_errors():
                page = cast("list[bytes]", self._broker.lrange(dead, -first, -last))
            letters = [DeadLetter(queue, raw, message.decode(raw)) for raw in page]
            yield from self._with_reasons(queue, letters)

    def replay(self, letter: DeadLetter) -> bool:
        """Put a letter's job back into its queue, as a new job at its first attempt.

        It keeps its input, its run and its priority; an eta or an expiry was for the old one.

        Returns False if the letter was gone or its new job is in the ledger already.

        Raises:
            JobError: the letter's message cannot be read.
            DatabaseUnavailable: the database is away; the letter is where it was.
        """
        job = letter.content.job
        if job is None:
            raise cast("JobError", letter.content.error)
        again = SubmittedJob.of(
            job,
            id=letter.replay_id,
            model=letter.queue,
            enqueued_at=datetime.now(UTC),
            priority=_priority(letter.raw),
        )
        # In the ledger first: once the letter is gone, the new job must get its row.
        there = self._database.jobs.add([again])
        if there and letter.reason is None:
            return False
        keys = QueueKeys(letter.queue)
        with broker_errors():
            moved = self._replay(
                keys=[keys.dead, keys.list_name(again.priority)],
                args=[letter.raw, message.encode(again)],
            )
        if not moved:
            if not there:
                self._database.jobs.remove([again.id])
            return False
        self._forget_reason(letter)
        if job.run is not None and not there:
            self._database.runs.count_submitted(job.run, 1)
        return True

    def drop(self, letter: DeadLetter) -> bool:
        """Take a letter off the list for good; False if it was gone. Its row stays.

        A job that has none leaves the ledger as well: it would be sent again.

        Raises:
            DatabaseUnavailable: the database is away; the letter is where it was.
        """
        if letter.reason is not None and self._database.results.get(letter.id) is None:
            self._withdraw(letter)
        with broker_errors():
            dropped = bool(
                self._broker.lrem(QueueKeys(letter.queue).dead, -1, cast("str", letter.raw))
            )
        self._forget_reason(letter)
        return dropped

    def _with_reasons(self, queue: str, letters: list[DeadLetter]) -> Iterator[DeadLetter]:
        if not letters:
            return
        with broker_errors():
            reasons = self._broker.hmget(
                QueueKeys(queue).dead_reasons, [storable_text(letter.id) for letter in letters]
            )
        for letter, reason in zip(letters, cast("list[bytes | None]", reasons), strict=True):
            yield letter if reason is None else replace(letter, reason=reason.decode())

    def _forget_reason(self, letter: DeadLetter) -> None:
        if letter.reason is not None:
            with broker_errors():
                self._broker.hdel(QueueKeys(letter.queue).dead_reasons, storable_text(letter.id))

    def _withdraw(self, letter: DeadLetter) -> None:
        run = letter.content.job.run if letter.content.job is not None else None
        if self._database.jobs.get(letter.id) is not None:
            self._database.jobs.remove([letter.id])
            if run is not None:
                self._database.runs.count_submitted(run, -1)


def replay_id(job_id: str) -> str:
    """The id of a job's next replay."""
    replayed = _REPLAY.fullmatch(job_id)
    base, number = (replayed[1], int(replayed[2])) if replayed else (job_id, 0)
    suffix = f":replay{number + 1}"
    if len(base) + len(suffix) > MAX_ID_LENGTH:
        base = hashlib.sha256(base.encode()).hexdigest()
    return base + suffix


def _priority(raw: bytes) -> int:
    """The priority of a message that could be read."""
    priority = json.loads(raw)["properties"].get("priority")
    return priority if isinstance(priority, int) and 0 <= priority <= MAX_PRIORITY else 0
