"""The answers: what goes out, with examples."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

import labelmill.db.summary
from labelmill.broker.heartbeat import Heartbeat
from labelmill.core.states import JobState
from labelmill.core.tasks import InputKind

_ID = "019aa51c-7d52-7c1e-a5f0-0c5d5f2f1c11"
_RUN = "019aa51c-8e10-7aa2-9c33-4f0f6a8e2b55"
_AT = "2026-01-31T12:00:00.125000Z"


def _example(value: dict[str, Any]) -> dict[str, Any]:
    return {"examples": [value]}


class Fault(BaseModel):
    """Why a job failed or was not taken."""

    code: str
    message: str | None = None


class Accepted(BaseModel):
    """A job that will have its row."""

    model_config = ConfigDict(
        json_schema_extra=_example({"id": _ID, "state": "queued", "url": f"/v1/jobs/{_ID}"})
    )

    id: str
    state: Literal["queued"] = "queued"
    url: str


class AcceptedJob(BaseModel):
    """One of many jobs, that will have its row."""

    id: str
    url: str


class Refused(BaseModel):
    """One of many jobs, that was not taken."""

    error: Fault


class AcceptedRun(BaseModel):
    """A run, and what became of each of its jobs, in order."""

    model_config = ConfigDict(
        json_schema_extra=_example({"run": _RUN, "jobs": [{"id": _ID, "url": f"/v1/jobs/{_ID}"}]})
    )

    run: str
    jobs: list[AcceptedJob | Refused]


class Score(BaseModel):
    """One label with its score."""

    label: str
    score: float


class Named(BaseModel):
    """What people call an image."""

    name: str | None = Field(
        None,
        exclude_if=lambda name: name is None,
        description="Such as the name of the file that was uploaded; left out where there is none.",
    )


class Uri(Named):
    """An image by its uri."""

    uri: str


class Inline(Named):
    """An image that came with the job."""

    inline: Literal[True] = True


class TextInput(BaseModel):
    """A text that was submitted."""

    text: str


class ImageInput(BaseModel):
    """An image that was submitted."""

    image: Uri | Inline


class Outcome(BaseModel):
    """How a job that succeeded came out."""

    label: str | None
    score: float | None
    scores: list[Score]
    checkpoint: str | None
    revision: str | None
    attempt: int
    group_size: int
    worker: str


class JobOut(BaseModel):
    """A job and, once there is one, its outcome."""

    model_config = ConfigDict(
        json_schema_extra=_example(
            {
                "id": _ID,
                "model": "topics",
                "run": None,
                "state": "succeeded",
                "input": {"text": "The parcel never came."},
                "thumbnail": None,
                "enqueued_at": _AT,
                "started_at": _AT,
                "finished_at": _AT,
                "result": {
                    "label": "delivery",
                    "score": 0.98,
                    "scores": [{"label": "delivery", "score": 0.98}],
                    "checkpoint": "models/topics",
                    "revision": None,
                    "attempt": 1,
                    "group_size": 12,
                    "worker": "worker1@host",
                },
                "error": None,
            }
        )
    )

    id: str
    model: str
    run: str | None
    state: JobState
    input: TextInput | ImageInput | None
    thumbnail: str | None
    enqueued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    result: Outcome | None
    error: Fault | None


class ResultsOut(BaseModel):
    """A page of jobs that have their rows, the newest first."""

    results: list[JobOut]
    next: str | None = Field(description="The cursor of the next page.")


class LabelCount(BaseModel):
    """How many rows a label has."""

    label: str
    count: int


class ScoreHistogram(BaseModel):
    """Rows by the score of their label."""

    edges: list[float]
    counts: list[int]


class ErrorCount(BaseModel):
    """How many rows an error has."""

    code: str
    count: int

    @classmethod
    def of(cls, summary: labelmill.db.summary.ResultSummary) -> list[Self]:
        """All of a summary, the most frequent first."""
        return [cls(code=code, count=count) for code, count in summary.errors]


class Summary(BaseModel):
    """What a filter finds, counted."""

    total: int
    succeeded: int
    failed: int
    labels: list[LabelCount]
    scores: ScoreHistogram
    errors: list[ErrorCount]
    complete: bool = Field(description="False if only the newest of the results were counted.")


class RunOut(BaseModel):
    """A run and how far it is."""

    id: str
    model: str
    source: str
    submitted: int
    succeeded: int
    failed: int
    created_at: datetime
    submitted_at: datetime | None = Field(description="When all its jobs had been submitted.")
    done: bool
    rate: float = Field(description="Jobs a second, over the last minute.")
    eta_seconds: float | None


class RunsOut(BaseModel):
    """A page of runs, the newest first."""

    runs: list[RunOut]
    next: str | None


class Bucket(BaseModel):
    """What a run finished in one stretch of time."""

    at: datetime
    succeeded: int
    failed: int


class Throughput(BaseModel):
    """What a run finished, over time."""

    bucket_seconds: float
    buckets: list[Bucket]


class Model(BaseModel):
    """A model and its queue; what Redis would have to say is null while it is away."""

    name: str
    task: str
    kind: InputKind
    checkpoint: str
    revision: str | None
    waiting: int | None
    running: int | None
    delayed: int | None
    dead: int | None
    served: bool | None
    workers: int | None
    oldest_seconds: float | None = Field(description="How long the oldest job has waited.")


class ModelsOut(BaseModel):
    """All models."""

    models: list[Model]


class Health(BaseModel):
    """How all of it is; null where it cannot be known now."""

    redis: Literal["ok", "away"]
    database: Literal["ok", "away"]
    queues: list[Model]
    workers: list[Heartbeat] | None
    failures: list[ErrorCount] | None = Field(description="Of the last 24 hours.")
    dead: int | None


class DeadLetterOut(BaseModel):
    """A job that ended its worker each time."""

    id: str
    model: str
    died_at: datetime | None
    reason: str | None
    attempts: int | None


class DeadLettersOut(BaseModel):
    """Dead letters, the newest first."""

    dead: list[DeadLetterOut]


class Replayed(BaseModel):
    """The new job as which a dead letter is replayed."""

    id: str
    url: str


class ProblemOut(BaseModel):
    """Why a request was not done (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
