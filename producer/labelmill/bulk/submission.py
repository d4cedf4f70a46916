"""The submission: every row of a run written into the ledger and published, once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter

from labelmill.broker.inspect import QueueInspector
from labelmill.bulk.backpressure import Backpressure
from labelmill.bulk.blocks import Block, Rejected
from labelmill.bulk.checkpoint import RunCheckpoint, RunPublisher
from labelmill.bulk.pending import PendingJobs
from labelmill.bulk.progress import SubmitProgress
from labelmill.bulk.rejects import Rejects
from labelmill.bulk.retry import OUTAGE_SECONDS, ServiceRetry
from labelmill.bulk.view import View
from labelmill.core.job import SubmittedJob
from labelmill.core.run import Run
from labelmill.db.database import Database
from labelmill.db.runs import RunProgress
from labelmill.sources.jobs import NewRow
from labelmill.sources.rows import Reason, Reject

_COUNT_SECONDS = 2.0  # between two counts of the results, and a multiple of what one takes
_COUNT_SHARE = 20


@dataclass
class Submission:
    """Submits the blocks of one run, and follows its jobs.

    Parameters:
        pending: takes the ids of jobs that another run has submitted.
    """

    run: Run
    database: Database
    publisher: RunPublisher
    backpressure: Backpressure
    progress: SubmitProgress
    view: View
    inspector: QueueInspector
    reject: Rejects
    pending: PendingJobs

    def __post_init__(self) -> None:
        self._retry = ServiceRetry(self._wait_for_service, OUTAGE_SECONDS)
        self._retrying = self._retry.call
        self._counted = 0.0
        self._pause = _COUNT_SECONDS

    def submit(self, blocks: Iterator[Block | None]) -> None:
        """Submit all blocks; what was published before is passed over.

        Raises:
            BrokerUnavailable: Redis is away for too long; the run can be resumed.
            DatabaseUnavailable: the database is; likewise.
            SourceError: a source cannot be read.
        """
        published = self.publisher.checkpoint()
        self._first = self._last = _later(published.at)
        for block in blocks:
            if block is not None:
                self._submit_block(block, published)
                self.progress.fraction = block.fraction
            self._tick()
        self._count(now=True)

    def _submit_block(self, block: Block, published: RunCheckpoint) -> None:
        for rejected in block.rejected:
            self._reject(rejected)
        beyond = [row for row in block.rows if row.number > published.row]
        self.progress.before += len(block.rows) - len(beyond)
        rows: dict[str, NewRow] = {}
        for row in beyond:
            if rows.setdefault(row.id, row) is not row:
                self._reject_duplicate(row)
        if not rows:
            return
        self.backpressure.wait_for_room(len(rows), self._wait, self._retry)
        # Not before that: what waits in Redis is taken to be in the order of these times.
        self._last = moment = _later(self._last)
        jobs = [
            SubmittedJob(
                id=id,
                model=self.run.model,
                payload=row.payload,
                enqueued_at=moment,
                run_id=self.run.id,
            )
            for id, row in rows.items()
        ]
        added, refused = self._retrying(lambda: self.database.runs.add_each_job(self.run, jobs))
        for id in [id for id in rows if id in refused]:
            self._reject_row(rows.pop(id), Reason.UNSTORABLE, refused[id].message)
        self.progress.submitted += len(added)
        unsent = [job for job in jobs if job.id in added]
        if len(added) < len(rows):
            there = {id: row for id, row in rows.items() if id not in added}
            unsent += self._recovered(there, published, moment)
            unsent.sort(key=lambda job: rows[job.id].number)
        self.progress.sent += self._publish(unsent, RunCheckpoint(block.last, moment))

    def _publish(self, jobs: list[SubmittedJob], checkpoint: RunCheckpoint) -> int:
        """Publish, once, however often Redis goes away meanwhile; return how many jobs."""
        left, sent_at, tried = jobs, self._last, False

        def publish() -> int:
            nonlocal left, sent_at, tried
            if tried:
                if self.publisher.checkpoint() == checkpoint:
                    return len(left)
                # As long as that took, the reconciler may have sent some.
                moment = _later(sent_at)
                claimed = self.database.jobs.claim_again(
                    [each.id for each in left], sent_at, moment
                )
                again = {job.id: job for job in claimed}
                left = [again[job.id] for job in left if job.id in again]
                sent_at = moment
            tried = True
            self.publisher.publish(left, checkpoint)
            return len(left)

        return self._retrying(publish)

    def _recovered(
        self, there: dict[str, NewRow], published: RunCheckpoint, moment: datetime
    ) -> list[SubmittedJob]:
        """Of jobs that the ledger had already, those that were never published."""
        earlier = self._retrying(lambda: self.database.jobs.get_many(list(there)))
        unsent: list[str] = []
        for id, row in there.items():
            job = earlier.get(id)
            if job is None or job.run_id != self.run.id:
                self.progress.before += 1
                self.pending.add(id)
            elif job.enqueued_at == moment:  # this very block, whose answer was lost
                unsent.append(id)
            elif job.enqueued_at >= self._first:
                self._reject_duplicate(row)
            elif published.at is None or job.enqueued_at > published.at:
                unsent.append(id)
            else:
                self.progress.before += 1
        # Claimed as the reconciler does it: of the two, one sends a job.
        claimed = self._retrying(lambda: self.database.jobs.claim_unsent(unsent, moment))
        claimed.sort(key=attrgetter("id"))
        self.progress.before += len(unsent) - len(claimed)
        return claimed

    def follow(self) -> None:
        """Return when every job of the run, and every one that is pending, has its row.

        Raises:
            DatabaseUnavailable: the database is away for too long.
        """
        self.progress.sending = False
        while True:
            others_done = self._retrying(lambda: self.pending.look(self.database.results))
            if self._count(now=True) and others_done:
                return
            self.view.update(self.progress)
            time.sleep(min(self._pause / 8, 5.0))

    def finish(self) -> None:
        """Write down that all rows are sent."""
        now = datetime.now(UTC)
        self._retrying(lambda: self.database.runs.finish(self.run.id, now, self.progress.rejected))

    def _reject(self, rejected: Rejected) -> None:
        self.progress.rejected += max(1, rejected.reject.rows)
        self.reject(rejected)

    def _reject_duplicate(self, row: NewRow) -> None:
        why = f"its id is that of an earlier row: {row.id}"
        self._reject_row(row, Reason.DUPLICATE_ID, why)

    def _reject_row(self, row: NewRow, code: Reason, why: str) -> None:
        self._reject(Rejected(self.run.source, Reject(row.row, row.line, code, why)))

    def _wait(self, why: str | None) -> None:
        told = self.progress.waiting_for is not None
        self.progress.waiting_for = why
        self._retrying(self.publisher.renew)
        self._count()
        self.view.update(self.progress, now=why is not None and not told)

    def _wait_for_service(self, why: str | None) -> None:
        told = self.progress.waiting_for is not None
        self.progress.waiting_for = why
        self.view.update(self.progress, now=not told or why is None)

    def _tick(self) -> None:
        self._retrying(self.publisher.renew)
        self.progress.sent_rate.add(self.progress.sent + self.progress.before)
        self._count()
        self.view.update(self.progress)

    def _count(self, *, now: bool = False) -> bool:
        """Count the results, seldom enough to take little of the time; True if all are there."""
        start = time.monotonic()
        if not now and start - self._counted < self._pause:
            return False
        found = self._retrying(lambda: self.database.runs.progress(self.run.id))
        counts = found or RunProgress(0, 0, 0)
        rowless = self._rowless()
        progress, pending = self.progress, self.pending
        progress.submitted = counts.submitted + pending.count
        progress.succeeded = counts.succeeded + pending.succeeded
        progress.failed = counts.failed + rowless + pending.failed
        progress.done_rate.add(progress.done)
        self._counted = time.monotonic()
        self._pause = max(_COUNT_SECONDS, _COUNT_SHARE * (self._counted - start))
        return counts.finished + rowless >= counts.submitted

    def _rowless(self) -> int:
        """How many jobs of the run are dead letters that will have no row."""
        ids = self._retrying(lambda: self.inspector.rowless(self.run.model))
        if not ids:
            return 0
        jobs = self._retrying(lambda: self.database.jobs.get_many(ids))
        rows = self._retrying(lambda: self.database.results.get_many(ids))
        return sum(job.run_id == self.run.id and id not in rows for id, job in jobs.items())


def _later(moment: datetime | None) -> datetime:
    """Now, but later than that, which may be of another machine's clock."""
    now = datetime.now(UTC)
    return now if moment is None else max(now, moment + timedelta(microseconds=1))
