"""The hand-over from prepare to forward: prepared jobs that wait for the device."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence

from labelmill.worker.job import Batch, InFlightJob

_MOST_ON_DEVICE = 2


class BatchQueue:
    """Prepared jobs by model, at most one full group of each.

    A group is formed when the device is free, not when its jobs were taken: it gets all that is
    ready by then, so that a lone job does not wait and a busy device finds full groups. Two groups
    may be on the device: the one that it runs, and the next, so that it never waits for a launch.

    Parameters:
        limits: the most jobs of a group, by model.
    """

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._on_device: deque[Batch] = deque()  # the oldest first
        self._limits = dict(limits)
        self._jobs: dict[str, list[InFlightJob]] = {model: [] for model in limits}
        self._turns: deque[str] = deque()  # models with jobs, the longest waiting first
        self._closed = False
        self._changed = threading.Condition()

    def room(self, model: str) -> int:
        """How many more jobs of this model may be put."""
        with self._changed:
            return self._limits[model] - len(self._jobs[model])

    def put(self, model: str, jobs: Sequence[InFlightJob]) -> None:
        """Add prepared jobs, no more than there is room for."""
        with self._changed:
            if not self._jobs[model]:
                self._turns.append(model)
            self._jobs[model].extend(jobs)
            self._changed.notify_all()

    def take(self) -> Batch | None:
        """Wait for jobs and for room on the device, and take all of the model whose turn it is.

        Returns None once closed. For each group :meth:`off_device` has to be called.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or (self._turns and len(self._on_device) < _MOST_ON_DEVICE)
            )
            if self._closed:
                return None
            model = self._turns.popleft()
            jobs, self._jobs[model] = self._jobs[model], []
            self._on_device.append(Batch(model, jobs))
            return self._on_device[-1]

    def off_device(self) -> None:
        """Note that the device is through with its oldest group; from any thread."""
        with self._changed:
            self._on_device.popleft()
            self._changed.notify_all()

    def on_device(self) -> list[InFlightJob]:
        """The jobs of the groups that are on the device."""
        with self._changed:
            return [job for batch in self._on_device for job in batch.jobs]

    def left(self) -> list[InFlightJob]:
        """The jobs that nobody took."""
        with self._changed:
            return [job for jobs in self._jobs.values() for job in jobs]

    def close(self) -> None:
        """Hand over nothing more; what is ready stays leased, to be given back."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
