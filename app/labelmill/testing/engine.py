"""The stub engine: answers by table or function, without a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from labelmill.core.catalog import ModelSpec
from labelmill.core.errors import ErrorCode, JobError
from labelmill.core.job import Job
from labelmill.core.result import LabelScore
from labelmill.core.tasks import Task
from labelmill.engines.base import Engine

Answer: TypeAlias = str | Mapping[str, float] | JobError
"""What a model says of a job: a label, labels with their scores, or why it failed."""


class StubEngine(Engine[Job, Answer]):
    """An engine that is told what to answer.

    Parameters:
        answers: by the job's text, or its image's name or uri; or a function of the job. What the
            function raises is the failure of that job, as if a model had raised.
        default: the answer to jobs that have none, or an empty one; without it, they fail and say
            so.
        task: whether it reads texts or images.
        spec: the model's entry in ``models.toml``, to have its ``top_k`` and ``group_size``.
    """

    def __init__(
        self,
        answers: Mapping[str, Answer] | Callable[[Job], Answer],
        *,
        default: Answer | None = None,
        task: Task = Task.TEXT_CLASSIFICATION,
        spec: ModelSpec | None = None,
    ) -> None:
        super().__init__(spec or ModelSpec(task=task, checkpoint="stub", revision="0" * 40))
        self._answers = answers
        self._default = default

    def prepare(self, jobs: Sequence[Job]) -> list[Job | JobError]:
        """The jobs as they are."""
        return list(jobs)

    def forward(self, inputs: Sequence[Job]) -> list[Answer | JobError]:
        """Look the answers up."""
        return [self._answer(job) for job in inputs]

    def decode(
        self, outputs: Sequence[Answer], top_k: Sequence[int]
    ) -> list[list[LabelScore] | JobError]:
        """The best labels of each."""
        return [
            answer if isinstance(answer, JobError) else _best(answer, k)
            for answer, k in zip(outputs, top_k, strict=True)
        ]

    def _answer(self, job: Job) -> Answer:
        if isinstance(self._answers, Mapping):
            found = (self._answers.get(key) for key in _keys(job))
            answer = next((each for each in found if each), None)
        else:
            answer = self._answers(job)
        return (
            answer
            or self._default
            or JobError(
                ErrorCode.MODEL_FAILED,
                "the stub engine has no answer to this job: give it one, or a default",
            )
        )


def _keys(job: Job) -> list[str]:
    named = (job.text,) if job.image is None else (job.image.name, job.image.uri)
    return [key for key in named if key is not None]


def _best(answer: str | Mapping[str, float], k: int) -> list[LabelScore]:
    scores = {answer: 1.0} if isinstance(answer, str) else answer
    ranked = sorted(scores.items(), key=lambda each: each[1], reverse=True)
    return [{"label": label, "score": float(score)} for label, score in ranked[:k]]
