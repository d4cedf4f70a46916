"""The ledger's entries: jobs as they were submitted, enough to send each of them again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TypedDict

from labelmill.core.json import JsonValue


class JobRow(TypedDict):
    """A job as it is submitted; :class:`labelmill.db.tables.Job` says what the fields are."""

    id: str
    run_id: str | None
    model: str
    payload: Mapping[str, JsonValue]
    priority: int
    eta: datetime | None
    expires_at: datetime | None
    enqueued_at: datetime


class LedgerRow(JobRow):
    """A job as the ledger keeps it."""

    due_at: datetime
