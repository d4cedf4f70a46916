"""Leases for tests that look into Redis between two calls."""

from __future__ import annotations

from labelmill.broker.leases import Leases, Taken


class SettledLeases(Leases):
    """Waits until Redis has noted that a group was begun, before it is looked at."""

    def take(self, queue: str, limit: int, *, claim: bool) -> Taken:
        taken = super().take(queue, limit, claim=claim)
        self._notes.settle()
        return taken
