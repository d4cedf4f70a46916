"""Inspection: how many jobs of a queue are where, and what Redis knows of each."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypedDict

import redis

from labelmill.broker.connection import broker_errors
from labelmill.broker.queues import PRIORITY_STEPS, QueueKeys

_SCRIPT = Path(__file__).with_name("inspect.lua")

# Messages of strangers, at the head of a list, that are looked past.
_LOOK = 1000


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """Where the jobs of one queue were at one moment.

    ``waiting_since`` has, by list, when the oldest job that waits in it was sent: the moment itself
    for an empty list, None where strangers' messages hide it. ``leased`` has the jobs that are in
    some worker's hands, or were delayed until now.
    """

    keys: QueueKeys
    moment: datetime
    waiting_since: dict[str, datetime | None]
    leased: frozenset[str]

    def gone_before(self, priority: int, grace: timedelta) -> datetime | None:
        """What was sent before then no longer waits in its list; None where that is not known.

        Parameters:
            grace: how far the clocks of producers, and the order of sending, may be apart.
        """
        since = self.waiting_since[self.keys.list_name(priority)]
        return since - grace if since is not None else None


class QueueDepth(TypedDict):
    """How many jobs of a queue are where."""

    waiting: int
    leased: int
    delayed: int
    dead: int


class QueueInspector:
    """Looks where jobs are; whoever shows or scales by what waits asks it.

    Parameters:
        broker: a client with ``decode_responses`` off.
    """

    def __init__(self, broker: redis.Redis) -> None:
        self._broker = broker
        self._look = broker.register_script(_SCRIPT.read_text())

    def now(self) -> datetime:
        """The server's time.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        with broker_errors():
            seconds, microseconds = self._broker.time()
        return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)

    def depths(self, queues: Iterable[str]) -> dict[str, QueueDepth]:
        """Count the jobs of each queue in one round trip.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        names = list(queues)
        with broker_errors(), self._broker.pipeline(transaction=False) as pipe:
            for keys in map(QueueKeys, names):
                for each in keys.lists:
                    pipe.llen(each)
                pipe.zcard(keys.deadlines)
                pipe.zcard(keys.delayed)
                pipe.llen(keys.dead)
            replies = iter(pipe.execute())
        return {
            name: QueueDepth(
                waiting=sum(next(replies) for _ in PRIORITY_STEPS),
                leased=next(replies),
                delayed=next(replies),
                dead=next(replies),
            )
            for name in names
        }

    def snapshot(self, queue: str, *, leased: bool) -> QueueSnapshot:
        """Where the jobs of a queue are now.

        Parameters:
            leased: whether to name the leased ones, which costs Redis a look at each.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        keys = QueueKeys(queue)
        with broker_errors():
            microseconds, lists, ids = self._look(
                keys=[keys.messages, keys.deadlines, keys.delayed, *keys.lists],
                args=[_LOOK, int(leased)],
            )
        moment = datetime.fromtimestamp(int(microseconds) / 1e6, UTC)
        return QueueSnapshot(
            keys,
            moment,
            {name: _moment(each, moment) for name, each in zip(keys.lists, lists, strict=True)},
            frozenset(json.loads(each) for each in ids),
        )


def _moment(sent_at: bytes, now: datetime) -> datetime | None:
    if sent_at == b"none":
        return now
    try:
        moment = datetime.fromisoformat(sent_at.decode())
    except ValueError:  # "unknown", or a stranger's idea of a time
        return None
    return moment if moment.tzinfo else None
