"""The result: how a job ended, and what its model said. Written once, never changed."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, TypedDict

from labelmill.core.ids import Name
from labelmill.core.states import Status


class LabelScore(TypedDict):
    """One label of a result with its score."""

    label: str
    score: float


class Result(NamedTuple):
    """One row of the table ``results``, whose columns these are.

    Attributes:
        id: the job's, which is the Celery task's.
        model: the alias, which is also the queue.
        scores: labels with their scores, the highest first.
        attempt: the number of the lease that it came of, from 1 on.
        group_size: how many jobs went through the model together; 0 where it was not run.
    """

    id: Name
    run_id: Name | None
    model: Name
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
    worker: Name
    enqueued_at: datetime | None
    started_at: datetime
    finished_at: datetime

    def __repr__(self) -> str:
        how = (
            f"label={self.label!r}, score={self.score!r}"
            if self.status is Status.SUCCEEDED
            else f"error_code={self.error_code!r}, error_message={self.error_message!r}"
        )
        return f"Result(id={self.id!r}, model={self.model!r}, status={str(self.status)!r}, {how})"
