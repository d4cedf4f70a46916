"""Inspection: what Redis knows of the jobs of one queue."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import redis

from labelmill.broker.connection import broker_errors
from labelmill.broker.queues import QueueKeys

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
        since = self.waiting_since[self.keys.list_of(priority)]
        return since - grace if since is not None else None


class QueueInspector:
    """Looks where jobs are.

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
