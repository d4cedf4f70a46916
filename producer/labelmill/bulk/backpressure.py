"""Back pressure: jobs wait in the source, not in Redis, while the queue is full."""

from __future__ import annotations

import time
from collections.abc import Callable

import redis

from labelmill.broker.heartbeat import heartbeats, serves
from labelmill.broker.inspect import QueueInspector
from labelmill.bulk.progress import Rate
from labelmill.bulk.retry import ServiceRetry

_PAUSE_SECONDS = 0.1
_LOOK_SECONDS = 5.0


class Backpressure:
    """Holds up a submission while too many jobs of its queue wait.

    Parameters:
        bound: the most jobs that may wait in the queue.
    """

    def __init__(self, broker: redis.Redis, queue: str, bound: int) -> None:
        self._broker = broker
        self._inspector = QueueInspector(broker)
        self._queue = queue
        self._bound = bound

    def wait_for_room(
        self, jobs: int, tell: Callable[[str | None], None], retry: ServiceRetry
    ) -> None:
        """Return when so many jobs more are within the bound.

        Parameters:
            tell: called about ten times a second with what it waits for, and with None at the end.

        Raises:
            BrokerUnavailable: Redis does not answer for too long.
        """
        room = max(0, self._bound - jobs)
        waiting = retry.call(self._waiting)
        if waiting <= room:
            return
        taken = Rate()
        looked, served = 0.0, True
        while waiting > room:
            taken.add(-waiting)
            if time.monotonic() - looked > _LOOK_SECONDS:
                looked = time.monotonic()
                served = retry.call(self._served)
            tell(self._why(waiting, served, taken.per_second))
            time.sleep(_PAUSE_SECONDS)
            waiting = retry.call(self._waiting)
        tell(None)

    def _waiting(self) -> int:
        return self._inspector.depths([self._queue])[self._queue]["waiting"]

    def _served(self) -> bool:
        return any(serves(beat, self._queue) for beat in heartbeats(self._broker))

    def _why(self, waiting: int, served: bool, rate: float | None) -> str:
        if not served:
            why = f"no worker serves {self._queue}"
        elif rate is None:
            why = "workers take them"
        else:
            why = f"workers take {max(0.0, rate):,.0f}/s"
        return f"{waiting:,} jobs in the queue, {why}"
