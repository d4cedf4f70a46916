"""The run: jobs that were submitted together."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from labelmill.core.ids import Name
from labelmill.core.json import JsonValue


class Run(NamedTuple):
    """One row of the table ``runs``: one bulk submission.

    Attributes:
        source: what it is submitted of, for people.
        plan: what it is submitted of and how, to go on with it; only ``labelmill submit`` knows.
        submitted: jobs in the ledger so far.
        rejected: rows of the source of which no job could be made.
        finished_at: when the submission ended; the jobs may still be under way.
    """

    id: Name
    model: Name
    source: str
    created_at: datetime
    plan: dict[str, JsonValue] | None = None
    submitted: int = 0
    rejected: int = 0
    finished_at: datetime | None = None
