"""The worker's Celery result backend: none, since outcomes are rows; it keeps quiet about it."""

from __future__ import annotations

from typing import Any

from celery import states
from celery.backends.base import DisabledBackend


class NoResults(DisabledBackend):  # type: ignore[misc]  # Celery has no types
    """Knows of no outcome, and takes none.

    Celery's own refuses to say so, which the remote control command ``revoke`` logs as a failure
    each time, though the revoked job gets its row as it should.
    """

    def get_state(self, task_id: str) -> str:
        """Always PENDING."""
        return str(states.PENDING)

    def mark_as_revoked(self, *_: Any, **__: Any) -> None:
        """Leave it to the row."""
