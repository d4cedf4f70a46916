"""Engines that compute nothing, to measure all that is around them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from labelmill.core.errors import JobError
from labelmill.core.job import Job
from labelmill.core.result import LabelScore
from labelmill.engines import Engine

#: How long a :class:`WaitingEngine` waits for its device: 2,560 jobs/s in groups of 128.
GROUP_SECONDS = 0.05

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


class WaitingEngine(NoopEngine):
    """Waits for a simulated device, which takes :data:`GROUP_SECONDS` for each group."""

    def forward(self, inputs: Sequence[None]) -> list[JobError | None]:
        """Let the device work; this process is idle meanwhile."""
        time.sleep(GROUP_SECONDS)
        return super().forward(inputs)
