"""The publication: one job on its way to its queue."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, Self

from labelmill.core.job import Job
from labelmill.core.ledger import LedgerRow


class Publication(NamedTuple):
    """One job on its way to its queue.

    ``job`` may also be its keyword arguments, as the ledger has them. ``sent_at`` is given where a
    job is not sent when it is enqueued, but later.
    """

    queue: str
    id: str
    job: Job | Mapping[str, Any]
    enqueued_at: datetime
    priority: int = 0
    eta: datetime | None = None
    expires: datetime | None = None
    sent_at: datetime | None = None

    @classmethod
    def from_ledger(cls, row: LedgerRow, sent_at: datetime) -> Self:
        """The job of a row of the ledger, to be sent now."""
        return cls(
            queue=row["model"],
            id=row["id"],
            job=row["payload"],
            enqueued_at=row["enqueued_at"],
            priority=row["priority"],
            eta=row["eta"],
            expires=row["expires_at"],
            sent_at=sent_at,
        )
