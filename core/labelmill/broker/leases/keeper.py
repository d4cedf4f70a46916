"""The keeper: renews the leases in this worker's hands, from a thread of its own."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable

import redis

from labelmill.broker.connection import BROKER_ERRORS
from labelmill.broker.leases.leases import Lease, Leases
from labelmill.broker.outage import Outage
from labelmill.broker.refusals import Refusal

_BEAT_SECONDS = 1.0


class LeaseKeeper:
    """Knows which jobs this worker holds, and keeps them its own for as long as it does.

    Renewal goes on whatever the other threads do, so that a slow batch is never taken twice; it
    ends with the process, so that a dead worker's jobs come back within a lease.

    Parameters:
        leases: the leases to renew, every second, or every third of a lease that is shorter.
        on_beat: called after each renewal; for the worker's heartbeat.
        outage: who is told when Redis does not answer.
    """

    def __init__(
        self, leases: Leases, on_beat: Callable[[], None], outage: Outage | None = None
    ) -> None:
        self._leases = leases
        self._outage = outage or Outage("leases expire meanwhile")
        self._on_beat = on_beat
        self._held: dict[tuple[str, bytes], Lease] = {}
        self._changed = threading.Condition()
        self._stopping = threading.Event()

    def run(self) -> None:
        """Renew until :meth:`stop`; Redis being away is waited out."""
        while not self._stopping.wait(min(self._leases.duration / 3, _BEAT_SECONDS)):
            # Where Redis takes the one and not the other, the heartbeat says so.
            for what, call in (("renew leases", self.renew), ("heartbeat", self._on_beat)):
                try:
                    call()
                except BROKER_ERRORS as error:
                    self._outage.note(what, error)
                else:
                    self._outage.over(what)

    def stop(self) -> None:
        """End :meth:`run`; what is still held is left to the caller."""
        self._stopping.set()

    def renew(self) -> None:
        """Renew once; a lease that another worker has claimed is let go.

        Raises:
            redis.RedisError: Redis does not answer, or refuses a queue; the others are renewed.
        """
        refusal: redis.RedisError | None = None
        for queue, leases in _by_queue(self.held()).items():
            try:
                lost = self._leases.renew(queue, leases)
            except (redis.ResponseError, Refusal) as error:
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
