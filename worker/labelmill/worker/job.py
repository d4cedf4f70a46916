"""A job in flight: what the stages hand on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from labelmill.broker.leases import Lease
from labelmill.broker.message import Message
from labelmill.core.errors import JobError
from labelmill.core.job import Job
from labelmill.core.result import LabelScore


@dataclass(slots=True)
class InFlightJob:
    """One job between its lease and its row.

    ``input`` is what its engine prepared, ``output`` what the model gave for it; either may be the
    error that ended the job. ``group_size`` is how many shared the forward pass, 0 for none.
    """

    lease: Lease
    message: Message
    started_at: datetime
    input: Any = None
    output: Any = None
    group_size: int = 0

    @property
    def id(self) -> str:
        """The job's id, which is its row's."""
        return self.message.id

    @property
    def parsed(self) -> Job:
        """The validated job; only for messages without an error."""
        assert self.message.job is not None  # noqa: S101 - admitted jobs have one
        return self.message.job


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs of one model that go through a stage together.

    ``was_run`` is whether they were on the device, whose outputs may still be under way.
    """

    model: str
    jobs: Sequence[InFlightJob]
    was_run: bool = False


Outcome = list[LabelScore] | JobError
