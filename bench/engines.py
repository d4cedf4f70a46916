"""Engines that cost nothing, to measure all that is around them."""

from __future__ import annotations

from collections.abc import Sequence

from db.errors import JobError
from db.tables import LabelScore
from producer.contract.job import Job
from worker.engines import Engine

_ANSWER: list[LabelScore] = [{"label": "done", "score": 1.0}]


class NoopEngine(Engine[None, None]):
    """Answers every job with one constant label."""

    def prepare(self, jobs: Sequence[Job]) -> list[JobError | None]:
        """Nothing to prepare."""
        return [None] * len(jobs)

    def forward(self, inputs: Sequence[None]) -> list[JobError | None]:
        """Nothing to run."""
        return [None] * len(inputs)

    def decode(
        self, outputs: Sequence[None], top_k: Sequence[int]
    ) -> list[list[LabelScore] | JobError]:
        """The same answer for each."""
        return [_ANSWER] * len(outputs)
