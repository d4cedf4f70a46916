"""The forward stage: run the model over whatever is ready."""

from __future__ import annotations

import queue
from collections.abc import Hashable, Mapping
from functools import partial

from labelmill.broker.leases import LeaseKeeper
from labelmill.broker.leases.doorbell import Doorbell
from labelmill.engines.isolate import isolate
from labelmill.engines.load import AnyEngine
from labelmill.worker.handover import ReadyJobs
from labelmill.worker.leased import Group, LeasedJob
from labelmill.worker.once import once
from labelmill.worker.stopwatch import Stopwatch


class ForwardStage:
    """Runs one group after the other; the only thread that uses the device.

    Attributes:
        current: the jobs that are on the device now.
        running: for how long they have been.
    """

    def __init__(
        self,
        engines: Mapping[str, AnyEngine],
        keeper: LeaseKeeper,
        doorbell: Doorbell,
        *,
        ready: ReadyJobs,
        finished: queue.Queue[Group | None],
    ) -> None:
        self._engines = engines
        self._keeper = keeper
        self._doorbell = doorbell
        self._ready = ready
        self._finished = finished
        self.current: list[LeasedJob] = []
        self.running = Stopwatch()

    def run(self) -> None:
        """Run groups until the hand-over is closed."""
        while (group := self._ready.take()) is not None:
            self._doorbell.ring()  # there is room again
            # A lease that was lost is another worker's job now.
            self.current = [leased for leased in group.jobs if self._keeper.holds(leased.lease)]
            with self.running:
                self._forward(group.model, self.current)
            self._finished.put(Group(group.model, self.current))
            self.current = []

    def _forward(self, model: str, jobs: list[LeasedJob]) -> None:
        outputs = once(
            partial(isolate, self._engines[model].forward),
            [leased.input for leased in jobs],
            [_identity(leased) for leased in jobs],
        )
        for leased, output in zip(jobs, outputs, strict=True):
            leased.input, leased.output, leased.group_size = None, output, len(jobs)


def _identity(leased: LeasedJob) -> Hashable:
    """Equal for equal inputs; the file of an image may have changed since it was last read."""
    return leased.job.text if leased.job.text is not None else id(leased.input)
