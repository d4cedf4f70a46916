"""The client: submit jobs, one or many, and read their results."""

from __future__ import annotations

import base64
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from labelmill.core.backoff import polls
from labelmill.core.closing import Closeable
from labelmill.core.errors import (
    BrokerUnavailable,
    DuplicateJob,
    ErrorCode,
    JobError,
    UnknownJob,
    WaitTimeout,
)
from labelmill.core.ids import new_id
from labelmill.core.job import MAX_PRIORITY, SubmittedJob, check_id, job_kwargs, parse_job
from labelmill.core.json import JsonValue
from labelmill.core.run import Run
from labelmill.core.text import storable_text

if TYPE_CHECKING:
    from labelmill.client.transactions import Transaction
    from labelmill.core.result import Result
    from labelmill.db.database import Database
    from labelmill.db.runs import RunProgress

BLOCK_SIZE = 1000  # jobs written to the ledger and published together

ImageInput = str | Path | bytes
"""An image: a uri, the path of a file that the worker can read, or the file's own bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """One job to submit: a text or an image, exactly one of them.

    ``image_name`` is what people call the image, such as its file's name.
    """

    text: str | None = None
    image: ImageInput | None = None
    image_name: str | None = None
    id: str | None = None
    top_k: int | None = None


@dataclass(slots=True)
class Submitted:
    """What became of jobs that were submitted together.

    Attributes:
        run: the id under which they were submitted.
        ids: the jobs that were sent, in order.
        duplicates: ids that had been submitted before and were not sent again.
        rejected: the number (from 0) of each job that can never be done, and why.
    """

    run: str
    ids: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    rejected: list[tuple[int, JobError]] = field(default_factory=list)


class Sent(NamedTuple):
    """What became of jobs that were to be sent.

    Attributes:
        new: those that were new, the first of each id.
        refused: by id, why the database does not take a job.
    """

    new: list[SubmittedJob]
    refused: dict[str, JobError]


class JobPublisher(Protocol):
    """What a client sends jobs by."""

    def publish(self, jobs: Sequence[SubmittedJob]) -> None:
        """Publish jobs, in their order; raises ``BrokerUnavailable``."""

    def withdraw(self, result: Result) -> None:
        """Take a cancelled job out of its queue, and announce its row."""

    def close(self) -> None:
        """Give up the connections."""


class Client(Closeable):
    """Submits jobs and reads results; safe to share between threads.

    Parameters:
        broker_url: Redis; by default ``LABELMILL_BROKER_URL``.
        database_url: the results database; by default ``LABELMILL_DATABASE_URL``.
        database_schema: the schema of PostgreSQL in which Labelmill's tables lie; by default
            ``LABELMILL_DATABASE_SCHEMA``.

    Example::

        with Client() as client:
            job_id = client.submit_text("topics", "The parcel never came.")
            print(client.wait(job_id).label)
    """

    def __init__(
        self,
        broker_url: str | None = None,
        database_url: str | None = None,
        database_schema: str | None = None,
    ) -> None:
        # redis and SQLAlchemy are most of what the client takes to import. They come with the first
        # client, and not to those that import an app for another reason than to submit.

        from labelmill.broker.publisher import Publisher
        from labelmill.core.settings import BrokerSettings, DatabaseSettings
        from labelmill.db.database import Database

        settings = BrokerSettings()
        self._connect(
            Publisher(broker_url or settings.broker_url, settings.announcements),
            Database.open(database_url or DatabaseSettings().database_url, database_schema),
        )

    def _connect(self, publisher: JobPublisher, database: Database) -> None:
        from labelmill.client.transactions import TransactionalEnqueue

        self._publisher = publisher
        self._database = database
        self._transactions = TransactionalEnqueue(self.publish)

    def submit_text(
        self,
        model: str,
        text: str,
        *,
        id: str | None = None,
        run: str | None = None,
        top_k: int | None = None,
        priority: int = 0,
        eta: datetime | None = None,
        expires: datetime | timedelta | None = None,
    ) -> str:
        """Submit one text; returns the job's id, which is its row's.

        Parameters:
            model: the model's alias, which is its queue.
            id: yours, or a time-ordered UUID is made.
            run: marks the result, to find it with others.
            top_k: how many labels to keep; by default the model's.
            priority: 0 is the most urgent, 9 the least.
            eta: not to be started before.
            expires: not to be started after; a time, or how long from now.

        Raises:
            JobError: the job can never be done.
            DuplicateJob: the id was submitted before; nothing was sent.
            BrokerUnavailable: Redis is away; the job was not submitted.
            DatabaseUnavailable: the database is away; the job was not submitted.
        """
        new = NewJob(text=text, id=id, top_k=top_k)
        return self._submit_one(model, new, run, priority, eta, expires)

    def submit_image(
        self,
        model: str,
        image: ImageInput,
        *,
        image_name: str | None = None,
        id: str | None = None,
        run: str | None = None,
        top_k: int | None = None,
        priority: int = 0,
        eta: datetime | None = None,
        expires: datetime | timedelta | None = None,
    ) -> str:
        """Submit one image; as :meth:`submit_text`.

        Bytes travel in the message and are limited to 1 MiB; a path or uri is read by the worker.

        Parameters:
            image_name: what people call it, such as its file's name; shown with its result.
        """
        new = NewJob(image=image, image_name=image_name, id=id, top_k=top_k)
        return self._submit_one(model, new, run, priority, eta, expires)

    def submit_many(
        self,
        model: str,
        jobs: Iterable[NewJob],
        *,
        run: str | None = None,
        source: str = "client",
        on_block: Callable[[Submitted], None] | None = None,
    ) -> Submitted:
        """Submit many jobs as one run, in blocks; a job that cannot be done stops no other.

        Parameters:
            run: the run's id, or one is made. Submitting into a run again adds to it.
            source: where the jobs come from, to be read by people.
            on_block: called after each block with what became of it alone.

        Raises:
            BrokerUnavailable: Redis is away; the blocks before were submitted.
            DatabaseUnavailable: the database is away; likewise.
        """
        total = Submitted(run or new_id())
        for block in self.submit_blocks(model, jobs, run=total.run, source=source):
            total.ids += block.ids
            total.duplicates += block.duplicates
            total.rejected += block.rejected
            if on_block:
                on_block(block)
        return total

    def submit_blocks(
        self, model: str, jobs: Iterable[NewJob], *, run: str, source: str
    ) -> Iterator[Submitted]:
        """Like :meth:`submit_many`, for any number of jobs in flat memory: yields each block."""
        begin = Run(run, model=model, source=source, created_at=datetime.now(UTC))
        self._database.runs.add(begin)
        numbered = enumerate(jobs)
        while block := list(itertools.islice(numbered, BLOCK_SIZE)):
            submitted = Submitted(run)
            made: dict[int, SubmittedJob] = {}
            for number, new in block:
                try:
                    made[number] = _submitted(model, new, run)
                except JobError as error:
                    submitted.rejected.append((number, error))
            sent, refused = self.send_each(list(made.values()))
            submitted.ids = [job.id for job in sent]
            for number, job in made.items():
                if job.id in refused:
                    submitted.rejected.append((number, refused[job.id]))
            submitted.rejected.sort(key=itemgetter(0))
            taken = [job for job in made.values() if job.id not in refused]
            submitted.duplicates = _without(taken, sent)
            self._database.runs.count_submitted(run, len(submitted.ids))
            yield submitted
        self._database.runs.finish(run, datetime.now(UTC))

    def send(self, jobs: Sequence[SubmittedJob]) -> list[SubmittedJob]:
        """Submit jobs that are made already: write the ledger, then publish, all in one go.

        Returns:
            those that were new, the first of each id.

        Raises:
            JobError: the database refuses one of them; the others were submitted.
            BrokerUnavailable: Redis is away; none was submitted, though some may run.
            DatabaseUnavailable: the database is away; none was submitted.
        """
        new, refused = self.send_each(jobs)
        if refused:
            raise next(iter(refused.values()))
        return new

    def send_each(self, jobs: Sequence[SubmittedJob]) -> Sent:
        """As :meth:`send`; those jobs that the database refuses stop no others."""
        unique = list({each.id: each for each in reversed(jobs)}.values())[::-1]
        added, refused = self._database.jobs.add_each(unique)
        new = [each for each in unique if storable_text(each.id) in added]
        try:
            self._publisher.publish(new)
        except BrokerUnavailable:
            # The caller gets no id, so these were not submitted: the same ids may come again.
            self._database.jobs.withdraw([each.id for each in new])
            raise
        return Sent(new, refused)

    def enqueue(
        self,
        transaction: Transaction,
        model: str,
        *,
        text: str | None = None,
        image: ImageInput | None = None,
        image_name: str | None = None,
        id: str | None = None,
        run: str | None = None,
        top_k: int | None = None,
        priority: int = 0,
        eta: datetime | None = None,
        expires: datetime | timedelta | None = None,
    ) -> str:
        """Submit one job within a transaction of the caller's; returns the job's id.

        The job is written into the ledger together with the caller's own rows, and sent only if
        they are committed. With a session, or with Django's connection, it is sent right after
        the commit; with a connection of SQLAlchemy's, call :meth:`publish` after yours. Where that
        does not happen, because Redis is away or the process has ended, the reconciler sends it a
        little later.

        Parameters:
            transaction: SQLAlchemy's ``Session`` or ``Connection``, or ``django.db.connection``,
                on the results database.
            text, image: exactly one of them; all else is as for :meth:`submit_text` and
                :meth:`submit_image`.

        Raises:
            JobError: the job can never be done; the transaction can go on, save where PostgreSQL
                refused the job: then it can only be rolled back.
            DuplicateJob: the id was submitted before; the transaction can go on.
            ConfigurationError: the transaction is not of SQLite or PostgreSQL.
            DatabaseUnavailable: the database is away.
        """
        from labelmill.client.transactions import write_job
        from labelmill.db.connection import schema_of

        new = NewJob(text=text, image=image, image_name=image_name, id=id, top_k=top_k)
        job = _submitted(model, new, run, priority, eta, expires)
        if not write_job(transaction, schema_of(self._database.engine), job):
            raise DuplicateJob(job.id)
        self._transactions.enqueued(transaction, job.id)
        return job.id

    def publish(self, ids: Sequence[str]) -> list[str]:
        """Send those of these enqueued jobs that are committed and were not sent yet.

        For ids that :meth:`enqueue` returned, or that were written into the ledger by other means;
        the job of an id that was submitted may run a second time, for the same row.

        Returns:
            the ids that were sent.

        Raises:
            BrokerUnavailable: Redis is away; the reconciler sends what was not sent.
            DatabaseUnavailable: the database is away; likewise.
        """
        sent: list[str] = []
        for start in range(0, len(ids), BLOCK_SIZE):
            now = datetime.now(UTC)
            claimed = self._database.jobs.claim_unsent(ids[start : start + BLOCK_SIZE], now)
            claimed.sort(key=attrgetter("enqueued_at", "id"))
            self._publisher.publish(claimed)
            sent += [job.id for job in claimed]
        return sent

    def cancel(self, job_id: str) -> bool:
        """Withdraw a job that has no row yet: it gets one that says so, ``failed / revoked``.

        That row is its only one, whatever a worker that has it in hand at this moment gives. It is
        taken out of its queue where it waits, which takes seconds where millions do.

        Returns:
            whether it was; False if it had its row before.

        Raises:
            UnknownJob: the ledger has no job of that id.
            JobError: the database refuses such a row; the job goes on.
            DatabaseUnavailable: the database is away; try again.
        """
        from labelmill.core.result import cancelled
        from labelmill.db.errors import blames_rows
        from labelmill.db.refusals import refusal

        job = self._database.jobs.get(job_id)
        if job is None:
            raise UnknownJob(job_id)
        row = cancelled(job, datetime.now(UTC))
        try:
            if not self._database.results.write([row]):
                return False
        except Exception as error:
            if not blames_rows(error):
                raise
            raise refusal(job, error) from None
        # With Redis away its message stays, and whoever takes it finds the row.
        with suppress(BrokerUnavailable):
            self._publisher.withdraw(row)
        return True

    def result(self, job_id: str) -> Result | None:
        """The job's row, or None as long as there is none.

        Raises:
            DatabaseUnavailable: the database is away.
        """
        return self._database.results.get(job_id)

    def wait(self, job_id: str, timeout: float = 30.0) -> Result:
        """Wait for the job's row.

        Parameters:
            timeout: in seconds.

        Raises:
            WaitTimeout: there was none in time; the job goes on.
            DatabaseUnavailable: the database is away.
        """
        for _ in polls(timeout):
            if (result := self._database.results.get(job_id)) is not None:
                return result
        raise WaitTimeout(
            f"no result for {job_id} after {timeout:g} s; it may still come: is a worker "
            "running? (labelmill status)"
        )

    def progress(self, run: str) -> RunProgress | None:
        """How far a run is; None if there is none of that id.

        Raises:
            DatabaseUnavailable: the database is away.
        """
        return self._database.runs.progress(run)

    def close(self) -> None:
        """Give up the connections."""
        self._publisher.close()
        self._database.close()

    def _submit_one(
        self,
        model: str,
        new: NewJob,
        run: str | None,
        priority: int,
        eta: datetime | None,
        expires: datetime | timedelta | None,
    ) -> str:
        job = _submitted(model, new, run, priority, eta, expires)
        if not self.send([job]):
            raise DuplicateJob(job.id)
        return job.id


def _without(jobs: Sequence[SubmittedJob], sent: Sequence[SubmittedJob]) -> list[str]:
    left = Counter(each.id for each in jobs)
    left.subtract(each.id for each in sent)
    return list(left.elements())


def _submitted(
    model: str,
    new: NewJob,
    run: str | None,
    priority: int = 0,
    eta: datetime | None = None,
    expires: datetime | timedelta | None = None,
) -> SubmittedJob:
    if not 0 <= priority <= MAX_PRIORITY:
        raise JobError(ErrorCode.INVALID_JOB, f"a priority is 0 (first) to {MAX_PRIORITY} (last)")
    image = _image(new.image, new.image_name) if new.image is not None else None
    return SubmittedJob.of(
        parse_job(job_kwargs(text=new.text, image=image, top_k=new.top_k, run=run)),
        id=check_id(new.id) if new.id is not None else new_id(),
        model=model,
        enqueued_at=datetime.now(UTC),
        priority=priority,
        eta=_aware("eta", eta),
        expires_at=_moment(expires),
    )


def _image(image: ImageInput, name: str | None) -> dict[str, JsonValue]:
    named: dict[str, JsonValue] = {} if name is None else {"name": name}
    if isinstance(image, bytes):
        return {"base64": base64.b64encode(image).decode(), **named}
    return {"uri": str(image.resolve()) if isinstance(image, Path) else image, **named}


def _aware(name: str, moment: datetime | None) -> datetime | None:
    if moment is not None and not isinstance(moment, datetime):
        raise JobError(
            ErrorCode.INVALID_JOB, f"{name} is a datetime, not of type {type(moment).__name__}"
        )
    return moment.astimezone(UTC) if moment is not None else None


def _moment(expires: datetime | timedelta | None) -> datetime | None:
    if isinstance(expires, timedelta):
        return datetime.now(UTC) + expires
    return _aware("expires", expires)
