"""A side: one of the two systems that are measured, as a trial sees it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from labelmill.bench.queueing.process import WorkerProcess
from labelmill.core.closing import Closeable

Input = str | Path
"""A text, or the file of an image."""


class Side(Closeable):
    """Sends jobs and runs one worker, on one Redis and one database.

    Attributes:
        queue: the queue, which is also the name of its list in Redis.
    """

    queue: str

    @abstractmethod
    def publish(self, inputs: Sequence[Input]) -> list[str]:
        """Send many jobs together; returns their ids."""

    @abstractmethod
    def submit(self, item: Input) -> str:
        """Send one job; returns its id."""

    @abstractmethod
    def worker(self, folder: Path) -> WorkerProcess:
        """A worker, not started yet, with an empty folder of its own."""

    def ready(self, workers: int) -> bool:
        """Whether that many workers are there, where a side can tell before it has sent jobs."""
        return True

    @abstractmethod
    def in_flight(self) -> int:
        """How many jobs the worker has taken and not acknowledged."""

    @abstractmethod
    def close(self) -> None:
        """Give up the connections."""
