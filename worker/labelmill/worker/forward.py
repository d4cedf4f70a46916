"""The forward stage: run the model over whatever is ready."""

from __future__ import annotations

import queue
from collections.abc import Mapping

from labelmill.broker.leases import LeaseKeeper
from labelmill.broker.leases.doorbell import Doorbell
from labelmill.engines.load import AnyEngine
from labelmill.worker import steps
from labelmill.worker.batcher import BatchQueue
from labelmill.worker.job import Batch
from labelmill.worker.stopwatch import Stopwatch


class ForwardStage:
    """Runs one group after the other; the only thread that uses the device.

    Attributes:
        running: for how long a group has been launched, which takes as long as the device where
            that is the CPU.
    """

    def __init__(
        self,
        engines: Mapping[str, AnyEngine],
        keeper: LeaseKeeper,
        doorbell: Doorbell,
        *,
        ready: BatchQueue,
        finished: queue.Queue[Batch | None],
    ) -> None:
        self._engines = engines
        self._keeper = keeper
        self._doorbell = doorbell
        self._ready = ready
        self._finished = finished
        self.running = Stopwatch()

    def run(self) -> None:
        """Run groups until the hand-over is closed."""
        while (group := self._ready.take()) is not None:
            self._doorbell.ring()  # there is room again
            # A lease that was lost is another worker's job now.
            jobs = [job for job in group.jobs if self._keeper.holds(job.lease)]
            with self.running:
                steps.forward(self._engines[group.model], jobs)
            self._finished.put(Batch(group.model, jobs, was_run=True))
