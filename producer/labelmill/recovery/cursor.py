"""The sweep's cursor: how far each lane of the ledger is known to be finished."""

from __future__ import annotations

from datetime import datetime
from typing import cast

import redis

from labelmill.broker.connection import broker_errors
from labelmill.db.jobs import Lane, Position

_KEY = "labelmill:reconciler:marks"

# Then the whole ledger is swept once more: a caller's transaction may have been committed so late
# that its jobs are due since before the mark.
_LIFETIME_SECONDS = 3600


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

    def get(self, lane: Lane) -> Position | None:
        """Where to begin in a lane; None for its beginning."""
        with broker_errors():
            mark = cast("bytes | None", self._broker.hget(_KEY, _field(lane)))
        return Position(datetime.fromisoformat(mark.decode()), "") if mark else None

    def save(self, lane: Lane, mark: datetime) -> None:
        """Remember how far a lane is finished."""
        with broker_errors(), self._broker.pipeline() as pipe:
            pipe.hset(_KEY, _field(lane), mark.isoformat())
            pipe.ttl(_KEY)
            if pipe.execute()[1] < 0:
                self._broker.expire(_KEY, _LIFETIME_SECONDS)


def _field(lane: Lane) -> str:
    return f"{lane.priority}:{lane.model}"
