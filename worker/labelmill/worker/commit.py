"""The commit stage: decode outputs, write a group's rows, then acknowledge its jobs."""

from __future__ import annotations

import queue
import random
import threading
from collections import deque
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, ParamSpec

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
from labelmill.core.text import redacted, texts_in
from labelmill.db.database import Database
from labelmill.engines.load import AnyEngine
from labelmill.worker import steps
from labelmill.worker.job import Batch, InFlightJob
from labelmill.worker.steps import AllRefused
from labelmill.worker.stopwatch import Stopwatch
from labelmill.worker.writer import RowWriter

logger = get_logger(__name__)

_ACKNOWLEDGE = "acknowledge"

# What is kept where the database refuses every row, until the device has to wait as well. A later
# group may be the one of which it takes a row: then it was the rows of the others.
_MOST_KEPT = 256
_MOST_KEPT_BYTES = 64 * 1024 * 1024  # of messages, which may hold images
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0

_P = ParamSpec("_P")


class _KeptGroup(NamedTuple):
    """A group of which the database refuses every row."""

    group: Batch
    rows: list[Result]


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
        self._kept: deque[_KeptGroup] = deque()
        self._pause = _FIRST_PAUSE_SECONDS
        self.counters = Counters()
        self.decoding = Stopwatch()

    def run(self) -> None:
        """Commit groups until None comes; what is away is waited for, until :meth:`give_up`."""
        while (group := self._next()) is not None:
            if group.was_run:
                self._wait(group)
            if group.jobs:
                self._insist(self._commit, group)
        self._insist(self._try_kept)
        if self._kept:
            count = sum(len(each.rows) for each in self._kept)
            logger.warning(
                "the database takes no rows: %d jobs were not committed and go back", count
            )

    @property
    def waits_for_database(self) -> bool:
        """Whether a group is kept in memory until the database takes it."""
        return self._writer.waiting or bool(self._kept)

    def give_up(self) -> None:
        """Wait no longer for a database or a Redis that is away."""
        self._giving_up.set()

    def _wait(self, group: Batch) -> None:
        with self.decoding:
            steps.wait(self._engines[group.model], group.jobs)
        self._off_device()

    def _next(self) -> Batch | None:
        """The next group; those that are kept are tried again meanwhile."""
        while self._kept and not self._giving_up.is_set():
            pause = self._pause * random.uniform(0.5, 1)  # noqa: S311 - no secret
            if self._keeps_enough():
                self._giving_up.wait(pause)
            else:
                try:
                    return self._finished.get(timeout=pause)
                except queue.Empty:
                    pass
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
            self._insist(self._try_kept)
        return None if self._giving_up.is_set() else self._finished.get()

    def _keeps_enough(self) -> bool:
        jobs = [job for each in self._kept for job in each.group.jobs]
        size = sum(len(job.lease.message) for job in jobs)
        return len(jobs) >= _MOST_KEPT or size >= _MOST_KEPT_BYTES

    def _insist(self, function: Callable[_P, None], *args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except GaveUp:
            logger.warning("jobs were not committed and go back")

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
        try:
            new = self._write(group, rows, blamed=False)
        except AllRefused as error:
            if not self._kept:
                logger.warning("the database takes no rows now, and they are kept: %s", error)
            self._kept.append(_KeptGroup(group, rows))
            return
        if new:
            self._write_kept()

    def _write(self, group: Batch, rows: list[Result], *, blamed: bool) -> int:
        """Write a group's rows and acknowledge its jobs; returns how many were new.

        Raises:
            AllRefused: the database refuses them all, and it is not known to take others.
        """
        jobs = {job.id: job for job in group.jobs}
        written = self._writer.write(
            rows, blamed=blamed, cleaned=lambda id, words: redacted(words, _private(jobs[id]))
        )
        for id, words in written.refused.items():
            logger.error("the database refuses the row of job %s, a dead letter now: %s", id, words)
        announced = self._said_of(written.rows, written.new)
        self._acknowledge(group, announced, written.refused, written.rowless)
        self._keeper.drop(job.lease for job in group.jobs)
        self.counters.groups += 1
        self.counters.jobs += len(rows)
        self.counters.failed += sum(row.status is Status.FAILED for row in written.rows)
        self.counters.already_there += len(written.rows) - written.new
        return written.new

    def _try_kept(self) -> None:
        """See whether the database takes rows again: one of those that are kept, or any."""
        if self._kept:
            self._kept.rotate(-1)
            if self._writer.is_taken(random.choice(self._kept[0].rows)):  # noqa: S311 - no secret
                self._write_kept()

    def _write_kept(self) -> None:
        """Write what was kept, now that the database takes rows: what it refuses is at fault."""
        if not self._kept:
            return
        logger.warning("the database takes rows again")
        self._pause = _FIRST_PAUSE_SECONDS
        while self._kept:
            self._write(*self._kept[0], blamed=True)
            self._kept.popleft()

    def _said_of(self, rows: Sequence[Result], inserted: int) -> list[JobFinished]:
        """What is said of a group whose rows are committed."""
        if not self._leases.announces:
            return []
        if inserted == len(rows):
            return announcements.of_results(rows)
        # Some ids had their row before, and that one stands.
        return announcements.of_results(self._writer.written([row.id for row in rows]))

    def _acknowledge(
        self,
        group: Batch,
        announced: Sequence[JobFinished],
        refused: Container[str],
        rowless: Mapping[str, str],
    ) -> None:
        said = {each["id"]: each for each in announced}
        buried: list[InFlightJob] = []
        done: list[InFlightJob] = []
        for job in group.jobs:
            (buried if _is_poisoned(job) or job.id in refused else done).append(job)
        insistently = self._until_redis_answers.call
        if rowless:
            insistently(self._leases.explain, group.model, rowless)
        for end, jobs in ((self._leases.bury, buried), (self._leases.ack, done)):
            for some in portions(jobs):
                about = [said.pop(job.id) for job in some if job.id in said]
                insistently(end, group.model, _leases(some), about)
                self._outage.over(_ACKNOWLEDGE)


def _leases(jobs: Sequence[InFlightJob]) -> list[Lease]:
    return [job.lease for job in jobs]


def _is_poisoned(job: InFlightJob) -> bool:
    return isinstance(job.output, JobError) and job.output.code is ErrorCode.POISONED


def _private(job: InFlightJob) -> list[str]:
    """The texts of a job's content."""
    content = job.message.job.to_kwargs() if job.message.job is not None else {}
    return list(texts_in([content.get("text"), content.get("image")]))
