"""Sameness: whether a job that is submitted is the one that the ledger has under its id."""

from __future__ import annotations

from db.rows import JobRow, storable_jobs
from db.tables import Job


def is_same(new: JobRow, kept: Job) -> bool:
    """Whether both ask for the same: all but when they were submitted."""
    [row] = storable_jobs([new])
    return (
        row["run_id"] == kept.run_id
        and row["model"] == kept.model
        and row["payload"] == kept.payload
        and row["priority"] == kept.priority
        and row["eta"] == kept.eta
        and row["expires_at"] == kept.expires_at
    )
