"""The states of a job; docs/explanation/job.md draws how they follow each other."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """How a job ended: what stands in its row."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


class JobState(StrEnum):
    """Where a job of the ledger is: in its queue, in a worker's hands, or at its row's status."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = Status.SUCCEEDED.value
    FAILED = Status.FAILED.value
