"""The result: how a job ended, and what its model said."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TypedDict


class Status(StrEnum):
    """How a job ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


class LabelScore(TypedDict):
    """One label of a result with its score."""

    label: str
    score: float


class ResultRow(TypedDict):
    """A result as it is written; :class:`labelmill.db.tables.Result` says what the fields are."""

    id: str
    run_id: str | None
    model: str
    checkpoint: str | None
    revision: str | None
    status: Status
    label: str | None
    score: float | None
    scores: list[LabelScore] | None
    error_code: str | None
    error_message: str | None
    attempt: int
    group_size: int
    worker: str
    enqueued_at: datetime | None
    started_at: datetime
    finished_at: datetime
