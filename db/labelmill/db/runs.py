"""The runs: what is submitted together, how far it is, and how fast it goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Select, func, literal, select, tuple_, union_all, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from labelmill.core.errors import DatabaseUnavailable, ErrorCode, JobError
from labelmill.core.job import SubmittedJob
from labelmill.core.run import Run
from labelmill.core.text import storable_text
from labelmill.db.cursor import PageCursor
from labelmill.db.errors import blames_rows, connection_was_lost, once_more, words_of
from labelmill.db.insert import insert_missing
from labelmill.db.refusals import AddedJobs, add_each
from labelmill.db.repository import Repository, select_record
from labelmill.db.results import outcomes, place
from labelmill.db.rows import storable_jobs, storable_record
from labelmill.db.tables import jobs, results, runs

_SEARCHED = 1000  # the newest runs, among which one of the same source is sought


@dataclass(frozen=True)
class RunProgress:
    """How far a run is."""

    submitted: int
    succeeded: int
    failed: int

    @property
    def finished(self) -> int:
        """Jobs that have a result."""
        return self.succeeded + self.failed


class ThroughputBucket(NamedTuple):
    """What was finished in one of a throughput's spans of time."""

    at: datetime
    succeeded: int
    failed: int


@dataclass(frozen=True, slots=True)
class RunThroughput:
    """How many jobs of a run were finished in each of equal spans of time, from its first on."""

    bucket_seconds: float
    buckets: list[ThroughputBucket]


_RUNS = select_record(runs, Run)
_NEWEST_FIRST = _RUNS.order_by(runs.c.created_at.desc(), runs.c.id.desc())


class Runs(Repository):
    """The table ``runs``; see :class:`Repository` for what every method raises."""

    def get(self, run_id: str) -> Run | None:
        """The run of that id, or None."""
        return self._get(runs, _RUNS, Run, run_id)

    def newest(self, limit: int = 100) -> list[Run]:
        """The runs, the newest first."""
        return self.page(limit)[0]

    @once_more
    def page(
        self, limit: int, after: PageCursor | None = None
    ) -> tuple[list[Run], PageCursor | None]:
        """The newest runs, or those that come after a page's end; and where the next page begins.

        Parameters:
            limit: the most runs, from 1 on.
            after: as the page before gave it.
        """
        query = _NEWEST_FIRST.limit(limit + 1)
        if after is not None:
            query = query.where(tuple_(runs.c.created_at, runs.c.id) < place(after))
        with self._reading() as connection:
            found = [Run(*row) for row in connection.execute(query)]
        more = len(found) > limit
        del found[limit:]
        return found, PageCursor(found[-1].created_at, found[-1].id) if more else None

    @once_more
    def to_resume(self, model: str, source: str) -> Run | None:
        """The newest run of a source that can be resumed, or None."""
        query = _NEWEST_FIRST.limit(_SEARCHED).where(
            runs.c.model == storable_text(model), runs.c.source == storable_text(source)
        )
        with self._reading() as connection:
            found = (Run(*row) for row in connection.execute(query))
            return next((run for run in found if run.plan), None)

    def add(self, run: Run) -> bool:
        """Write down that a submission begins; False if there was a run of that id.

        Raises:
            ValueError: if the id or the alias is longer than ``MAX_ID_LENGTH``.
            JobError: if the database refuses the run.
        """
        try:
            return self._add(run)
        except DatabaseUnavailable as error:
            if not connection_was_lost(error):
                raise
        if self._add(run):
            return True
        there = self.get(run.id)
        return there is not None and there.created_at == run.created_at

    def add_jobs(self, run: Run, block: Sequence[SubmittedJob]) -> set[str]:
        """Write jobs, and their run with the first, in one transaction; return the new jobs' ids.

        So there is no run without jobs, and the number that it says is that of its jobs.

        Raises:
            ValueError: if an id or the model's alias is too long; nothing is written.
            RowsNotKept: if the database took jobs and dropped some; the others are written.
        """
        storable = storable_jobs(block)
        begin = self._insertion(run)
        with self._transaction() as connection:
            added = insert_missing(connection, jobs, storable) if storable else set()
            if added:
                connection.execute(begin)
                connection.execute(
                    update(runs)
                    .where(runs.c.id == storable_text(run.id))
                    .values(submitted=runs.c.submitted + len(added), finished_at=None)
                )
        if len(added) < len(storable):
            self._require_kept(jobs, storable, added)
        return added

    def add_each_job(self, run: Run, block: Sequence[SubmittedJob]) -> AddedJobs:
        """As :meth:`add_jobs`; those jobs that the database refuses stop no others.

        Raises:
            AllJobsRefused: if it refuses all of several.
        """
        return add_each(lambda some: self.add_jobs(run, some), block)

    def count_submitted(self, run_id: str, count: int) -> None:
        """Add to the number of jobs that a run has sent; raises as :meth:`add`."""
        try:
            self._update(run_id, submitted=runs.c.submitted + count)
        except DatabaseUnavailable as error:
            if not connection_was_lost(error):
                raise
            # Added or not, the ledger knows how many there are.
            of_run = jobs.c.run_id == storable_text(run_id)
            ledger = select(func.count()).where(of_run).scalar_subquery()
            self._update(run_id, submitted=ledger)

    @once_more
    def finish(self, run_id: str, finished_at: datetime, rejected: int | None = None) -> None:
        """Write down that a run has sent all its jobs, and how many rows it could not, if given."""
        counted = {} if rejected is None else {"rejected": rejected}
        self._update(run_id, finished_at=finished_at, **counted)

    @once_more
    def progress(self, run_id: str) -> RunProgress | None:
        """How far a run is, or None if there is no run of that id."""
        run_id = storable_text(run_id)
        counts = [
            select(outcome).where(results.c.run_id == run_id).scalar_subquery()
            for outcome in outcomes()
        ]
        with self._reading_at_length() as connection:
            query = select(runs.c.submitted, *counts).where(runs.c.id == run_id)
            row = connection.execute(query).one_or_none()
        return None if row is None else RunProgress(*row)

    @once_more
    def finished_since(self, run_id: str, since: datetime) -> int:
        """How many jobs of a run were finished at a time or later."""
        query = select(func.count()).where(
            results.c.run_id == storable_text(run_id), results.c.finished_at >= since
        )
        with self._reading_at_length() as connection:
            return connection.scalar(query) or 0

    @once_more
    def throughput(self, run_id: str, buckets: int = 60) -> RunThroughput:
        """A run's speed from its first result to its last.

        Parameters:
            buckets: the most spans of time; each is at least a second.
        """
        finished_at = results.c.finished_at
        of_run = select(finished_at).where(results.c.run_id == storable_text(run_id))
        first_last = select(
            of_run.order_by(finished_at).limit(1).scalar_subquery(),
            of_run.order_by(finished_at.desc()).limit(1).scalar_subquery(),
        )
        with self._reading_at_length() as connection:
            moments = [each for each in connection.execute(first_last).one() if each is not None]
            if not moments:
                return RunThroughput(1.0, [])
            first, last = moments
            # A microsecond more, since a span ends before its end.
            width = max(timedelta(seconds=1), (last - first) / buckets + timedelta(microseconds=1))
            starts = [first + width * number for number in range((last - first) // width + 1)]
            # A range of the index each; one query for all of them is one round trip.
            counts = [
                _finished_between(number, start, start + width, run_id)
                for number, start in enumerate(starts)
            ]
            rows = {row.number: row for row in connection.execute(union_all(*counts))}
        return RunThroughput(
            width.total_seconds(),
            [
                ThroughputBucket(start, rows[number].succeeded, rows[number].failed)
                for number, start in enumerate(starts)
            ],
        )

    def _add(self, run: Run) -> bool:
        with _refusing(run.id), self._one_statement() as connection:
            added = connection.scalar(self._insertion(run).returning(runs.c.id))
        return added is not None

    def _insertion(self, run: Run) -> postgresql.Insert | sqlite.Insert:
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        return insert(runs).values(storable_record(runs, run)).on_conflict_do_nothing()

    def _update(self, run_id: str, **values: Any) -> None:
        with _refusing(run_id), self._one_statement() as connection:
            connection.execute(
                update(runs).where(runs.c.id == storable_text(run_id)).values(values)
            )


@contextmanager
def _refusing(run_id: str) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if not blames_rows(error):
            raise
        raise JobError(
            ErrorCode.UNSTORABLE, f"the database refused the run {run_id}: {words_of(error)}"
        ) from None


def _finished_between(
    number: int, start: datetime, end: datetime, run_id: str
) -> Select[*tuple[Any, ...]]:
    return select(literal(number).label("number"), *outcomes()).where(
        results.c.run_id == storable_text(run_id),
        results.c.finished_at >= start,
        results.c.finished_at < end,
    )
