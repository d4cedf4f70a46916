"""The commit stage: decode outputs, write a group's rows, then acknowledge its jobs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from celery.utils.log import get_logger

from labelmill.broker import announcements
from labelmill.broker.announcements import JobFinished
from labelmill.broker.connection import BROKER_ERRORS
from labelmill.broker.leases import Lease, LeaseKeeper, Leases, portions
from labelmill.broker.outage import Outage
from labelmill.core.errors import ErrorCode, JobError
from labelmill.core.result import Result
from labelmill.core.retry import GaveUp, RetryPolicy
from labelmill.core.states import Status
from labelmill.db.database import Database
from labelmill.engines.load import AnyEngine
from labelmill.worker import steps
from labelmill.worker.job import Batch, InFlightJob
from labelmill.worker.stopwatch import Stopwatch
from labelmill.worker.writer import RowWriter

logger = get_logger(__name__)

_ACKNOWLEDGE = "acknowledge"
_FIRST_PAUSE_SECONDS = 0.1


@dataclass(slots=True)
class Counters:
    """What this worker has done since it started."""

    groups: int = 0
    jobs: int = 0
    failed: int = 0
    already_there: int = 0


class CommitStage:
    """Makes outcomes lasting: nothing is acknowledged before its row is committed.

    Parameters:
        worker: the worker's name, for the rows.
        finished: the groups to commit, ended by None.
        off_device: called when the device is through with a group.
        outage: who is told when Redis does not answer.

    Attributes:
        decoding: for how long the outputs of a group have been waited for and decoded.
    """

    def __init__(
        self,
        engines: Mapping[str, AnyEngine],
        leases: Leases,
        keeper: LeaseKeeper,
        database: Database,
        *,
        worker: str,
        finished: queue.Queue[Batch | None],
        off_device: Callable[[], None],
        outage: Outage,
    ) -> None:
        self._engines = engines
        self._leases = leases
        self._keeper = keeper
        self._worker = worker
        self._finished = finished
        self._off_device = off_device
        self._outage = outage
        self._giving_up = threading.Event()
        self._until_redis_answers = RetryPolicy(
            errors=BROKER_ERRORS,
            first_pause=_FIRST_PAUSE_SECONDS,
            until=self._giving_up,
            on_wait=lambda error, *_: outage.note(_ACKNOWLEDGE, error),
        )
        self._writer = RowWriter(database, self._giving_up)
        self.counters = Counters()
        self.decoding = Stopwatch()

    def run(self) -> None:
        """Commit groups until None comes; what is away is waited for, until :meth:`give_up`."""
        while (group := self._finished.get()) is not None:
            if group.was_run:
                self._wait(group)
            if group.jobs:
                try:
                    self._commit(group)
                except GaveUp:
                    logger.warning("%d jobs were not committed and go back", len(group.jobs))

    @property
    def waits_for_database(self) -> bool:
        """Whether a group is kept in memory until the database takes it."""
        return self._writer.waiting

    def give_up(self) -> None:
        """Wait no longer for a database or a Redis that is away."""
        self._giving_up.set()

    def _wait(self, group: Batch) -> None:
        with self.decoding:
            steps.wait(self._engines[group.model], group.jobs)
        self._off_device()

    def _commit(self, group: Batch) -> None:
        engine = self._engines[group.model]
        with self.decoding:
            outcomes = steps.decode(engine, group.jobs)
        finished_at = self._leases.now()
        rows = [
            steps.row(
                group.model, engine, job, outcome, worker=self._worker, finished_at=finished_at
            )
            for job, outcome in zip(group.jobs, outcomes, strict=True)
        ]
        rows, inserted = self._writer.write(rows)
        announced = self._said_of(rows, inserted)
        self._acknowledge(group, announced)
        self._keeper.drop(job.lease for job in group.jobs)
        self.counters.groups += 1
        self.counters.jobs += len(rows)
        self.counters.failed += sum(row.status is Status.FAILED for row in rows)
        self.counters.already_there += len(rows) - inserted

    def _said_of(self, rows: Sequence[Result], inserted: int) -> list[JobFinished]:
        """What is said of a group whose rows are committed."""
        if not self._leases.announces:
            return []
        if inserted == len(rows):
            return announcements.of_results(rows)
        # Some ids had their row before, and that one stands.
        return announcements.of_results(self._writer.written([row.id for row in rows]))

    def _acknowledge(self, group: Batch, announced: Sequence[JobFinished]) -> None:
        said = {each["id"]: each for each in announced}
        buried = [job for job in group.jobs if _is_poisoned(job)]
        done = [job for job in group.jobs if not _is_poisoned(job)]
        for end, jobs in ((self._leases.bury, buried), (self._leases.ack, done)):
            for some in portions(jobs):
                about = [said.pop(job.id) for job in some if job.id in said]
                self._until_redis_answers.call(end, group.model, _leases(some), about)
                self._outage.over(_ACKNOWLEDGE)


def _leases(jobs: Sequence[InFlightJob]) -> list[Lease]:
    return [job.lease for job in jobs]


def _is_poisoned(job: InFlightJob) -> bool:
    return isinstance(job.output, JobError) and job.output.code is ErrorCode.POISONED
