"""The keeper: renews the leases in this worker's hands, from a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable

import redis

from labelmill.broker.leases.leases import Lease, Leases

logger = logging.getLogger(__name__)

_BEAT_SECONDS = 1.0


class LeaseKeeper:
    """Knows which jobs this worker holds, and keeps them its own for as long as it does.

    Renewal goes on whatever the other threads do, so that a slow batch is never taken twice; it
    ends with the process, so that a dead worker's jobs come back within a lease.

    Parameters:
        leases: the leases to renew, every second, or every third of a lease that is shorter.
        on_beat: called after each renewal; for the worker's heartbeat.
    """

    def __init__(self, leases: Leases, on_beat: Callable[[], None]) -> None:
        self._leases = leases
        self._on_beat = on_beat
        self._held: dict[tuple[str, bytes], Lease] = {}
        self._changed = threading.Condition()
        self._stopping = threading.Event()

    def run(self) -> None:
        """Renew until :meth:`stop`; Redis being away is waited out."""
        while not self._stopping.wait(min(self._leases.duration / 3, _BEAT_SECONDS)):
            try:
                self.renew()
                self._on_beat()
            except (redis.RedisError, OSError) as error:
                logger.warning("cannot renew leases: %s; trying again", type(error).__name__)

    def stop(self) -> None:
        """End :meth:`run`; what is still held is left to the caller."""
        self._stopping.set()

    def renew(self) -> None:
        """Renew once; a lease that another worker has claimed is let go.

        Raises:
            redis.RedisError: Redis does not answer, or refuses a queue; the others are renewed.
        """
        refusal: redis.ResponseError | None = None
        for queue, leases in _by_queue(self.held()).items():
            try:
                lost = self._leases.renew(queue, leases)
            except redis.ResponseError as error:
                refusal = error
                continue
            if lost:
                # Most are jobs acknowledged while the call was under way; of the rest, the row
                # that is written first stands.
                self.drop(lease for lease in leases if lease.delivery in lost)
        if refusal is not None:
            raise refusal

    def hold(self, leases: Iterable[Lease]) -> None:
        """Renew these from now on."""
        with self._changed:
            self._held.update(((lease.queue, lease.delivery), lease) for lease in leases)

    def drop(self, leases: Iterable[Lease]) -> None:
        """Renew these no longer."""
        with self._changed:
            for lease in leases:
                held = self._held.get((lease.queue, lease.delivery))
                if held is not None and held.attempt == lease.attempt:
                    del self._held[lease.queue, lease.delivery]
            self._changed.notify_all()

    def holds(self, lease: Lease) -> bool:
        """Whether the lease is, as far as this worker knows, still its own."""
        held = self._held.get((lease.queue, lease.delivery))
        return held is not None and held.attempt == lease.attempt

    def held(self) -> list[Lease]:
        """All that this worker holds."""
        with self._changed:
            return list(self._held.values())

    @property
    def count(self) -> int:
        """How many jobs this worker holds."""
        return len(self._held)

    def wait_empty(self, timeout: float, *, but: int = 0) -> bool:
        """Wait until this worker holds nothing, or no more than so many jobs; whether it does."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._held) <= but, timeout)

    def release_all(self) -> int:
        """Give back everything still held; returns how many jobs were.

        Raises:
            redis.RedisError: Redis does not answer; the leases will expire instead.
        """
        released = 0
        for queue, leases in _by_queue(self.held()).items():
            released += self._leases.release(queue, leases)
            self.drop(leases)
        return released


def _by_queue(leases: Iterable[Lease]) -> dict[str, list[Lease]]:
    queues: dict[str, list[Lease]] = defaultdict(list)
    for lease in leases:
        queues[lease.queue].append(lease)
    return queues
