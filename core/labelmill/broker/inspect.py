"""Inspection: how many jobs of a queue are where, and what Redis knows of each."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, cast

import redis

from labelmill.broker.connection import broker_errors
from labelmill.broker.parts import parts
from labelmill.broker.queues import PRIORITY_STEPS, QueueKeys
from labelmill.broker.scripts import script

_FOLDER = Path(__file__).parent

_ASKED = 99  # of the oldest messages of a list, when they were sent


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """Where the jobs of one queue were at one moment.

    ``sent`` has, by list, when some of the oldest jobs that wait in it were sent, by their senders'
    clocks. ``leased`` has the jobs that are in some worker's hands, or were delayed until now;
    ``given_back`` the oldest that wait, where a worker gives back what it had in hand.
    """

    keys: QueueKeys
    moment: datetime
    sent: dict[str, list[datetime]]
    leased: frozenset[str]
    given_back: frozenset[str]

    @property
    def oldest(self) -> datetime | None:
        """When the first of those that wait was sent; None where none says so."""
        return min((moment for times in self.sent.values() for moment in times), default=None)

    def most_gone_before(self, priority: int, grace: timedelta) -> datetime:
        """Of what was sent before then, most no longer waits in its list.

        It depends on the clocks of those who sent: what it lets through has to be looked for.

        Parameters:
            grace: for which a job that was sent is not missed yet.
        """
        return min(self._believed(priority), self.moment) - grace

    def ahead(self, priority: int) -> timedelta:
        """How far the senders' clocks are ahead of the server's, as far as can be seen."""
        return self._believed(priority) - self.moment

    def _believed(self, priority: int) -> datetime:
        times = self.sent[self.keys.list_name(priority)]
        # The one in the middle: a few wrong clocks have no say.
        return statistics.median_low(times) if times else self.moment


class QueueDepth(TypedDict):
    """How many jobs of a queue are where."""

    waiting: int
    leased: int
    delayed: int
    dead: int


class QueueCount(NamedTuple):
    """What could be counted of a queue, and what Redis says of what could not."""

    depth: QueueDepth
    refusal: str | None


class QueueInspector:
    """Looks where jobs are; whoever shows or scales by what waits asks it.

    Parameters:
        broker: a client with ``decode_responses`` off.
    """

    def __init__(self, broker: redis.Redis) -> None:
        self._broker = broker
        self._look = script(broker, _FOLDER / "message.lua", _FOLDER / "inspect.lua")
        self._ids = script(broker, _FOLDER / "message.lua", _FOLDER / "ids.lua")

    def now(self) -> datetime:
        """The server's time.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        with broker_errors():
            seconds, microseconds = self._broker.time()
        return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)

    def depths(self, queues: Iterable[str]) -> dict[str, QueueDepth]:
        """Count the jobs of each queue in one round trip; what cannot be counted is 0.

        Raises:
            BrokerUnavailable: Redis does not answer, or refuses everything.
        """
        return {name: counted.depth for name, counted in self.counts(queues).items()}

    def counts(self, queues: Iterable[str]) -> dict[str, QueueCount]:
        """Like :meth:`depths`, with what Redis refuses, such as a key of another application.

        Raises:
            BrokerUnavailable: Redis does not answer, or refuses everything.
        """
        names = list(queues)
        with broker_errors(), self._broker.pipeline(transaction=False) as pipe:
            for keys in map(QueueKeys, names):
                for each in keys.lists:
                    pipe.llen(each)
                pipe.zcard(keys.deadlines)
                pipe.zcard(keys.delayed)
                pipe.llen(keys.dead)
            replies: list[Any] = pipe.execute(raise_on_error=False)
            refusals = [each for each in replies if isinstance(each, Exception)]
            if refusals and len(refusals) == len(replies):
                raise refusals[0]
        each_queue = iter(replies)
        return {name: _count([next(each_queue) for _ in range(_COUNTS)]) for name in names}

    def rowless(self, queue: str) -> list[str]:
        """The ids of dead letters whose jobs have no row, since the database refused each.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        with broker_errors():
            ids = self._broker.hkeys(QueueKeys(queue).dead_reasons)
        return [each.decode() for each in cast("list[bytes]", ids)]

    def snapshot(self, queue: str, *, held: bool) -> QueueSnapshot:
        """Where the jobs of a queue are now.

        Parameters:
            held: whether to name those that are leased or given back, which costs Redis a look at
                each.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        keys = QueueKeys(queue)
        with broker_errors():
            microseconds, lists, leased, given_back = self._look(
                keys=[keys.messages, keys.deadlines, keys.delayed, *keys.lists],
                args=[_ASKED, int(held)],
            )
        return QueueSnapshot(
            keys,
            moment=datetime.fromtimestamp(int(microseconds) / 1e6, UTC),
            sent={
                name: [moment for each in times if (moment := _moment(each))]
                for name, times in zip(keys.lists, lists, strict=True)
            },
            leased=frozenset(_read(leased)),
            given_back=frozenset(_read(given_back)),
        )

    def absent(self, queue: str, ids: Iterable[str]) -> set[str]:
        """Which of these jobs are nowhere in a queue: not waiting, leased, due or dead.

        Every message that waits is looked at, in parts that hold up the server for some
        milliseconds each, until all the jobs are found: about four seconds for a million.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        absent = set(ids)
        keys = QueueKeys(queue)
        for name in (*keys.lists, keys.dead):
            for part in parts(partial(self._ids_of, name)):
                absent.difference_update(part)
                if not absent:
                    return absent
        # Last, for what was taken meanwhile, and for what was given back where it had been looked.
        snapshot = self.snapshot(queue, held=True)
        return absent - snapshot.leased - snapshot.given_back

    def _ids_of(self, name: str, start: int, size: int) -> tuple[int, int, Iterator[str]]:
        with broker_errors():
            count, total, ids = self._ids(keys=[name], args=[start, size])
        return count, total, _read(ids)


_COUNTS = len(PRIORITY_STEPS) + 3


def _count(replies: list[Any]) -> QueueCount:
    refusals = [each for each in replies if isinstance(each, Exception)]
    *waiting, leased, delayed, dead = [
        0 if isinstance(each, Exception) else int(each) for each in replies
    ]
    depth = QueueDepth(waiting=sum(waiting), leased=leased, delayed=delayed, dead=dead)
    return QueueCount(depth, str(refusals[0]) if refusals else None)


def _moment(text: bytes) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.decode())
    except ValueError:  # a stranger's idea of a time
        return None
    # With the others nobody can reckon.
    return moment if moment.tzinfo and 2000 <= moment.year <= 9000 else None


def _read(ids: Iterable[bytes]) -> Iterator[str]:
    """The ids of messages; what is no JSON string is a stranger's, and no job of the ledger."""
    for each in ids:
        try:
            yield json.loads(each)
        except ValueError:
            continue
