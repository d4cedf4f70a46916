"""The jobs: the ledger, written before they are published, and who sends again what was lost."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, case, delete, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from labelmill.core.errors import ConfigurationError, DatabaseUnavailable
from labelmill.core.job import SubmittedJob
from labelmill.core.text import storable_text
from labelmill.db.connection import in_schema
from labelmill.db.errors import RowsNotKept, blames_rows, connection_was_lost, once_more, translated
from labelmill.db.refusals import AddedJobs, add_each, refusal
from labelmill.db.repository import Repository, blocks_of, select_record
from labelmill.db.rows import storable_jobs
from labelmill.db.tables import jobs, results

logger = logging.getLogger(__name__)


class Lane(NamedTuple):
    """The jobs of one queue and one priority: they leave Redis in the order of their sending."""

    model: str
    priority: int


class Position(NamedTuple):
    """A place in a lane; its jobs are in the order of these."""

    due_at: datetime
    id: str


class LedgerEntry(NamedTuple):
    """A job in its lane."""

    id: str
    due_at: datetime
    finished: bool


_JOBS = select_record(jobs, SubmittedJob)


class Jobs(Repository):
    """The table ``jobs``; see :class:`Repository` for what every method raises."""

    def add(self, block: Sequence[SubmittedJob]) -> set[str]:
        """Write jobs into the ledger in one transaction; return the ids that were there already.

        Those stay as they are. Of an id that stands twice in the block the first is written.

        Raises:
            ValueError: if a number is not finite, a time has no zone, or an id, a run's id or a
                model's alias is longer than ``MAX_ID_LENGTH``; nothing is written.
            JobError: if the database refuses a lone job.
            AllJobsRefused: if it refuses all of several.
        """
        storable_jobs(block)
        done = self.add_each(block)
        if done.refused:
            raise next(iter(done.refused.values()))
        return {job.id for job in block if storable_text(job.id) not in done.added}

    def add_each(self, block: Sequence[SubmittedJob]) -> AddedJobs:
        """Write jobs into the ledger; those that the database refuses stop no others.

        Those that are there already stay as they are. Of an id that stands twice in the block the
        first is written.

        Raises:
            AllJobsRefused: if it refuses all of several.
        """
        return add_each(self._add, block)

    def _add(self, block: Sequence[SubmittedJob]) -> set[str]:
        rows = storable_jobs(block)
        added = self._insert(jobs, rows, mark="enqueued_at")
        if len(added) < len(rows):
            self._require_kept(jobs, rows, added)
        return added

    def get(self, job_id: str) -> SubmittedJob | None:
        """The job as it was submitted, or None if the ledger does not have it."""
        return self._get(jobs, _JOBS, SubmittedJob, job_id)

    def get_many(self, ids: Sequence[str]) -> dict[str, SubmittedJob]:
        """The jobs of these ids that the ledger has, by id."""
        return self._get_many(jobs, _JOBS, SubmittedJob, ids)

    @once_more
    def remove(self, ids: Sequence[str]) -> None:
        """Take jobs out of the ledger again, because they could not be sent."""
        with self._one_statement() as connection:
            for some in blocks_of(ids):
                connection.execute(delete(jobs).where(jobs.c.id.in_(some)))

    @once_more
    def lanes(self) -> list[Lane]:
        """The lanes that have jobs; an index lookup each, however many jobs there are."""
        model, priority = jobs.c.model, jobs.c.priority
        first = select(model, priority).order_by(model, priority).limit(1)
        lanes: list[Lane] = []
        with self._reading() as connection:
            row = connection.execute(first).one_or_none()
            while row:
                last = Lane(row.model, row.priority)
                lanes.append(last)
                # Not (model, priority) > last: SQLite would walk through the whole lane.
                within = first.where(model == last.model, priority > last.priority)
                row = (
                    connection.execute(within).one_or_none()
                    or connection.execute(first.where(model > last.model)).one_or_none()
                )
        return lanes

    @once_more
    def page(
        self, lane: Lane, after: Position | None, due_before: datetime, limit: int
    ) -> list[LedgerEntry]:
        """The next jobs of a lane, the longest due first, and whether each has its row.

        Parameters:
            after: the last job of the page before; None for the beginning.
            due_before: where to end.
            limit: the most jobs.
        """
        place = tuple_(jobs.c.due_at, jobs.c.id)
        # The page first: only its own jobs are looked up among the results.
        due = (
            select(*place)
            .where(jobs.c.model == lane.model, jobs.c.priority == lane.priority)
            .where(jobs.c.due_at < due_before)
            .order_by(*place)
            .limit(limit)
        )
        if after is not None:
            due = due.where(place > after)
        page = due.subquery()
        query = (
            select(page.c.id, page.c.due_at, results.c.id.is_not(None))
            .join_from(page, results, page.c.id == results.c.id, isouter=True)
            .order_by(page.c.due_at, page.c.id)
        )
        with self._reading() as connection:
            return [LedgerEntry(*row) for row in connection.execute(query)]

    def claim_lost(
        self, ids: Sequence[str], due_before: datetime, sent_at: datetime
    ) -> list[SubmittedJob]:
        """Take it on to send these jobs again: those that have no row and nobody else has claimed.

        One atomic step. A claim makes a job due anew, so a second one finds it no longer due.

        Parameters:
            due_before: what has been due since before then is lost.
            sent_at: now.
        """
        return self._claim(ids, jobs.c.due_at < due_before, sent_at)

    def claim_unsent(self, ids: Sequence[str], sent_at: datetime) -> list[SubmittedJob]:
        """Take it on to send those of these jobs that are committed and were not claimed before.

        Parameters:
            sent_at: now.
        """
        with self._reading() as connection:
            committed = list(
                connection.scalars(
                    select(jobs.c.id).where(jobs.c.id.in_(list(map(storable_text, ids))))
                )
            )
        # Asked first, since writing would wait for the transaction that may still be open.
        if not committed:
            return []
        return self._claim(committed, jobs.c.due_at == _due(jobs.c.enqueued_at), sent_at)

    def claim_again(
        self, ids: Sequence[str], claimed_at: datetime, sent_at: datetime
    ) -> list[SubmittedJob]:
        """Take it on anew to send those of these jobs that nobody else has claimed meanwhile.

        Parameters:
            claimed_at: when they were enqueued, or claimed, to be sent.
            sent_at: now.
        """
        return self._claim(ids, jobs.c.due_at == _due(claimed_at), sent_at)

    @once_more
    def withdraw(self, ids: Sequence[str]) -> None:
        """Take jobs out again that could not be sent, save those that somebody has claimed since.

        Whoever claims a job sends it, and may have told a caller so. Where the database refuses to
        take some out, they stay, and are sent later.
        """
        unclaimed = jobs.c.due_at == _due(jobs.c.enqueued_at)
        try:
            with self._one_statement() as connection:
                for some in blocks_of(ids):
                    connection.execute(delete(jobs).where(jobs.c.id.in_(some), unclaimed))
        except DBAPIError as error:
            if not blames_rows(error):
                raise
            logger.warning("%d jobs stay in the ledger: %s", len(ids), _kind_of(error))

    def _claim(
        self, ids: Sequence[str], condition: ColumnElement[bool], sent_at: datetime
    ) -> list[SubmittedJob]:
        """Claim some; one whose change the database refuses holds up no others, and is not sent."""
        try:
            return self._claim_together(ids, condition, sent_at)
        except DBAPIError as error:
            if not blames_rows(error):
                raise
            if len(ids) == 1:
                logger.warning("job %s cannot be claimed: %s", ids[0], _kind_of(error))
                return []
        half = len(ids) // 2
        first = self._claim(ids[:half], condition, sent_at)
        return first + self._claim(ids[half:], condition, sent_at)

    def _claim_together(
        self, ids: Sequence[str], condition: ColumnElement[bool], sent_at: datetime
    ) -> list[SubmittedJob]:
        try:
            return self._claim_once(ids, condition, sent_at)
        except DatabaseUnavailable as error:
            if not connection_was_lost(error):
                raise
        # It may have been done: what is due since this very moment was claimed by this call.
        return self._claim_once(ids, condition | (jobs.c.due_at == sent_at), sent_at)

    def _claim_once(
        self, ids: Sequence[str], condition: ColumnElement[bool], sent_at: datetime
    ) -> list[SubmittedJob]:
        has_row = select(results.c.id).where(results.c.id == jobs.c.id).exists()
        claimable = (
            select(jobs.c.id)
            .where(jobs.c.id.in_(list(map(storable_text, ids))), condition, ~has_row)
            # Whoever has locked a row is claiming it; and nobody waits for another in a circle.
            .with_for_update(skip_locked=True)
        )
        claim = (
            update(jobs)
            .where(jobs.c.id.in_(claimable))
            .values(due_at=_due(sent_at))
            .returning(*_JOBS.selected_columns)
        )
        with self._one_statement() as connection:
            return [
                SubmittedJob(*row)._replace(sent_at=sent_at) for row in connection.execute(claim)
            ]


def add_job(connection: Connection, schema: str | None, job: SubmittedJob) -> bool:
    """Write a job into the ledger within a transaction of the caller's; False if it was there.

    Parameters:
        schema: in which the ledger lies, whatever the caller's connection makes of tables' names.

    Raises:
        ConfigurationError: if the connection is not to SQLite or PostgreSQL.
        JobError: if the database refuses the job; PostgreSQL's transaction can only be rolled back.
        DatabaseUnavailable: if the database went away or stayed locked.
        SchemaOutOfDate: if it has no ledger of this version.
    """
    [values] = storable_jobs([job])
    insert: postgresql.Insert | sqlite.Insert
    if connection.dialect.name == "postgresql":
        insert = postgresql.insert(jobs).values(**values).on_conflict_do_nothing()
    elif connection.dialect.name == "sqlite":
        insert = sqlite.insert(jobs).values(**values).on_conflict_do_nothing()
    else:
        raise ConfigurationError(
            f"a {connection.dialect.name} transaction cannot hold jobs: begin it on the results"
            " database, SQLite or PostgreSQL"
        )
    statement = insert.returning(jobs.c.id)
    there = select(jobs.c.id).where(jobs.c.id == values["id"])
    options = in_schema(schema)
    try:
        with translated(connection.engine):
            if connection.scalar(statement, execution_options=options) is not None:
                return True
            if connection.scalar(there, execution_options=options) is None:
                raise RowsNotKept(frozenset(), frozenset([job.id]))
            return False
    except (DBAPIError, RowsNotKept) as error:
        if not blames_rows(error):
            raise
        raise refusal(job, error) from None


def _kind_of(error: DBAPIError) -> str:
    # A trigger's own words may quote the payload, which is not known here.
    return f"the database refuses it ({type(error.orig).__name__})"


def _due(sent_at: datetime | ColumnElement[datetime]) -> ColumnElement[datetime]:
    """:func:`labelmill.db.rows.due` in SQL."""
    return case((jobs.c.eta > sent_at, jobs.c.eta), else_=sent_at)
