"""The commit stage: decode outputs, write a group's rows, then acknowledge its jobs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import redis
from celery.utils.log import get_logger

from labelmill.broker import events
from labelmill.broker.events import JobFinished
from labelmill.broker.leases import Lease, LeaseKeeper, Leases
from labelmill.core.errors import ErrorCode, JobError
from labelmill.core.result import Result
from labelmill.core.retry import GaveUp
from labelmill.core.scatter import scatter
from labelmill.core.states import Status
from labelmill.db.database import Database
from labelmill.engines.bisect import run_bisecting
from labelmill.engines.load import AnyEngine
from labelmill.worker.job import Batch, InFlightJob, Outcome
from labelmill.worker.retry import insisting
from labelmill.worker.stopwatch import Stopwatch
from labelmill.worker.writer import RowWriter

logger = get_logger(__name__)


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
    ) -> None:
        self._engines = engines
        self._leases = leases
        self._keeper = keeper
        self._worker = worker
        self._finished = finished
        self._giving_up = threading.Event()
        self._writer = RowWriter(database, self._giving_up)
        self.counters = Counters()
        self.decoding = Stopwatch()

    def run(self) -> None:
        """Commit groups until None comes; what is away is waited for, until :meth:`give_up`."""
        while (group := self._finished.get()) is not None:
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

    def _commit(self, group: Batch) -> None:
        engine = self._engines[group.model]
        with self.decoding:
            outcomes = self._decode(engine, group.jobs)
        finished_at = self._leases.now()
        rows = [
            _row(group.model, engine, job, outcome, worker=self._worker, finished_at=finished_at)
            for job, outcome in zip(group.jobs, outcomes, strict=True)
        ]
        rows, inserted = self._writer.write(rows)
        announced = self._announcements(rows, inserted)
        insisting(redis.RedisError, OSError, until=self._giving_up).call(
            self._acknowledge, group, announced
        )
        self._keeper.drop(job.lease for job in group.jobs)
        self.counters.groups += 1
        self.counters.jobs += len(rows)
        self.counters.failed += sum(row.status is Status.FAILED for row in rows)
        self.counters.already_there += len(rows) - inserted

    def _decode(self, engine: AnyEngine, jobs: Sequence[InFlightJob]) -> list[Outcome]:
        failed = [index for index, job in enumerate(jobs) if isinstance(job.output, JobError)]
        pending = [index for index, job in enumerate(jobs) if not isinstance(job.output, JobError)]
        decoded = run_bisecting(
            lambda chosen: engine.decode(
                [jobs[index].output for index in chosen],
                [jobs[index].parsed.options.top_k or engine.spec.top_k for index in chosen],
            ),
            pending,
        )
        errors: list[Outcome] = [jobs[index].output for index in failed]
        return scatter(len(jobs), [(failed, errors), (pending, decoded)])

    def _announcements(self, rows: Sequence[Result], inserted: int) -> list[JobFinished]:
        """What is said of a group whose rows are committed."""
        if not self._leases.announces:
            return []
        if inserted == len(rows):
            return events.of_results(rows)
        # Some ids had their row before, and that one stands.
        return events.of_results(self._writer.written([row.id for row in rows]))

    def _acknowledge(self, group: Batch, announced: Sequence[JobFinished]) -> None:
        buried = [job for job in group.jobs if _is_poisoned(job)]
        done = [job for job in group.jobs if not _is_poisoned(job)]
        if not buried:
            self._leases.ack(group.model, _leases(done), announced)
            return
        dead = {job.id for job in buried}
        self._leases.bury(
            group.model, _leases(buried), [each for each in announced if each["id"] in dead]
        )
        if done:
            self._leases.ack(
                group.model, _leases(done), [each for each in announced if each["id"] not in dead]
            )


def _row(
    model: str,
    engine: AnyEngine,
    job: InFlightJob,
    outcome: Outcome,
    *,
    worker: str,
    finished_at: datetime,
) -> Result:
    error = outcome if isinstance(outcome, JobError) else None
    scores = outcome if isinstance(outcome, list) else None
    return Result(
        id=job.id,
        run_id=job.message.job.run if job.message.job else None,
        model=model,
        checkpoint=engine.spec.checkpoint,
        revision=engine.revision,
        status=Status.FAILED if error else Status.SUCCEEDED,
        label=scores[0]["label"] if scores else None,
        score=scores[0]["score"] if scores else None,
        scores=scores,
        error_code=error.code if error else None,
        error_message=error.message if error else None,
        attempt=job.lease.attempt,
        group_size=job.group_size,
        worker=worker,
        enqueued_at=job.message.enqueued_at,
        started_at=job.started_at,
        finished_at=finished_at,
    )


def _leases(jobs: Sequence[InFlightJob]) -> list[Lease]:
    return [job.lease for job in jobs]


def _is_poisoned(job: InFlightJob) -> bool:
    return isinstance(job.output, JobError) and job.output.code is ErrorCode.POISONED
