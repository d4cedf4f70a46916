"""The sweep's cursor: how far each lane of the ledger is known to be finished."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple, cast

import redis

from labelmill.broker.connection import broker_errors
from labelmill.db.jobs import Lane, Position

_KEY = "labelmill:reconciler:marks"

# Then the whole ledger is swept once more: a caller's transaction may have been committed so late
# that its jobs are due since before the mark.
_LIFETIME_SECONDS = 3600


class SweepPlace(NamedTuple):
    """Where a sweep of a lane begins.

    Attributes:
        mark: what is due since before then has its row; None where nothing is known.
        resume: where the sweep before has stopped, if it had too much to look for.
        held: since when what that sweep, and those that it went on from, have left is due.
    """

    mark: datetime | None
    resume: Position | None = None
    held: datetime | None = None

    @property
    def start(self) -> Position | None:
        """The place itself; None for the beginning of the lane."""
        return self.resume or (Position(self.mark, "") if self.mark else None)


class SweepCursor:
    """What is due since before a lane's mark has its row, and need not be looked at again.

    They are kept in Redis. Losing them costs one sweep of the whole ledger.

    Parameters:
        broker: a client with ``decode_responses`` off.

    Every method:

    Raises:
        BrokerUnavailable: Redis does not answer.
    """

    def __init__(self, broker: redis.Redis) -> None:
        self._broker = broker

    def get(self, lane: Lane) -> SweepPlace:
        """Where to begin in a lane."""
        with broker_errors():
            kept = cast("list[bytes | None]", self._broker.hmget(_KEY, _mark(lane), _resume(lane)))
        mark, resume = ((each or b"").decode() for each in kept)
        held, _, place = resume.partition(" ")
        due_at, _, id = place.partition(" ")
        return SweepPlace(
            datetime.fromisoformat(mark) if mark else None,
            Position(datetime.fromisoformat(due_at), id) if due_at else None,
            datetime.fromisoformat(held) if held else None,
        )

    def save(self, lane: Lane, place: SweepPlace) -> None:
        """Remember how far a lane is finished, and where its sweep has stopped."""
        held = place.held.isoformat() if place.held else ""
        resume = place.resume
        kept: dict[Any, Any] = {
            _mark(lane): place.mark.isoformat() if place.mark else "",
            _resume(lane): f"{held} {resume.due_at.isoformat()} {resume.id}" if resume else "",
        }
        with broker_errors(), self._broker.pipeline() as pipe:
            pipe.hset(_KEY, mapping=kept)
            pipe.ttl(_KEY)
            if pipe.execute()[1] < 0:
                self._broker.expire(_KEY, _LIFETIME_SECONDS)


def _mark(lane: Lane) -> str:
    return f"{lane.priority}:{lane.model}"


def _resume(lane: Lane) -> str:
    return f"resume:{_mark(lane)}"
