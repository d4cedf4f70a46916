"""The engine: one model on one device, in the three steps that the stages overlap."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from labelmill.core.catalog import MAX_GROUP_SIZE, ModelSpec
from labelmill.core.errors import JobError
from labelmill.core.job import Job
from labelmill.core.result import LabelScore
from labelmill.core.running import RunningModel

_USUAL_GROUP = 128

Prepared = TypeVar("Prepared")
Output = TypeVar("Output")


class Engine(ABC, Generic[Prepared, Output]):
    """One model on one device.

    Each step takes many jobs and answers for each in the same order; a job that fails alone is
    answered with a :class:`~labelmill.core.errors.JobError`. A step that raises is called again
    with fewer jobs, down to the one that makes it raise; a ``JobError`` spares that. Jobs of equal
    content in a group are one job for ``prepare`` and ``forward``. Each step is called from one
    thread at a time, but ``prepare`` and ``decode`` run while ``forward`` does; see also
    :meth:`waits`.

    Parameters:
        spec: the model's entry in ``models.toml``.

    Attributes:
        device: where it runs, for people to read.
        revision: which weights these are; stands in each row.
        group_size: the most jobs of a batch.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.device = "cpu"
        self.revision = spec.revision
        self.group_size = spec.group_size or _USUAL_GROUP

    @abstractmethod
    def prepare(self, jobs: Sequence[Job]) -> list[Prepared | JobError]:
        """Make the jobs' inputs ready for the device, on the CPU."""

    def waits(self, jobs: Sequence[Job]) -> bool:
        """Whether to prepare these may mean to wait for other machines.

        They are then prepared in a thread of their own, and other jobs meanwhile, also of this
        model: ``prepare`` is then called from several threads at once.
        """
        return False

    @abstractmethod
    def forward(self, inputs: Sequence[Prepared]) -> list[Output | JobError]:
        """Run the model over prepared inputs."""

    def wait(self, outputs: Sequence[Output]) -> None:
        """Return once the device has finished these, for engines whose ``forward`` returns before.

        The worker then launches its next batch, and decodes this one.
        """
        return

    @abstractmethod
    def decode(
        self, outputs: Sequence[Output], top_k: Sequence[int]
    ) -> list[list[LabelScore] | JobError]:
        """Turn outputs into the ``top_k`` labels of each job, the best first."""

    def running(self) -> RunningModel:
        """How the model is run, for people to read."""
        return RunningModel(
            device=self.device, dtype=None, layout=None, budget=None, group_size=self.group_size
        )

    def fill_passes(self, jobs: int) -> None:
        """Take so many jobs in a batch, within reason, unless ``models.toml`` says how many."""
        if self.spec.group_size is None:
            self.group_size = min(max(jobs, _USUAL_GROUP), MAX_GROUP_SIZE)
