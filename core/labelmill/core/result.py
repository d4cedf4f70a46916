"""The result: how a job ended, and what its model said. Written once, never changed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict  # comes with pydantic, which wants it before 3.12

from labelmill.core.errors import ErrorCode
from labelmill.core.ids import Name
from labelmill.core.states import Status

if TYPE_CHECKING:
    from labelmill.core.job import SubmittedJob


class LabelScore(TypedDict):
    """One label of a result with its score."""

    label: str
    score: float


@dataclass
class Result:
    """One row of the table ``results``, whose columns these are.

    Changing one changes nothing in the database.

    Attributes:
        id: the job's, which is the Celery task's.
        model: the alias, which is also the queue.
        scores: labels with their scores, the highest first.
        attempt: how often it was started, from 1 on; 0 where it was cancelled.
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

    @property
    def values(self) -> tuple[Any, ...]:
        """Its columns, in the order of :data:`RESULT_COLUMNS`."""
        found: tuple[Any, ...] = _VALUES(self)
        return found

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        how = (
            f"label={self.label!r}, score={self.score!r}"
            if self.status is Status.SUCCEEDED
            else f"error_code={self.error_code!r}, error_message={self.error_message!r}"
        )
        return f"Result(id={self.id!r}, model={self.model!r}, status={str(self.status)!r}, {how})"


def cancelled(job: SubmittedJob, now: datetime) -> Result:
    """The row of a job that its owner has withdrawn."""
    return Result(
        id=job.id,
        run_id=job.run_id,
        model=job.model,
        checkpoint=None,
        revision=None,
        status=Status.FAILED,
        label=None,
        score=None,
        scores=None,
        error_code=ErrorCode.REVOKED,
        error_message="the job was cancelled before it had a result",
        attempt=0,
        group_size=0,
        worker="client",
        enqueued_at=job.enqueued_at,
        started_at=now,
        finished_at=now,
    )


RESULT_COLUMNS = tuple(field.name for field in fields(Result))
"""The names of the columns, in their order."""

_VALUES = attrgetter(*RESULT_COLUMNS)
