"""The ledger as a reconciler reads it: what is due, what has its row, and who sends it again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Table,
    case,
    delete,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from labelmill.core.errors import ConfigurationError
from labelmill.core.ledger import JobRow, LedgerRow
from labelmill.db.database import for_single_statements
from labelmill.db.errors import translated
from labelmill.db.rows import storable_jobs, storable_text
from labelmill.db.tables import Job, Result

_IDS_A_STATEMENT = 1000

_JOBS = cast("Table", Job.__table__)
_RESULTS = cast("Table", Result.__table__)


class Lane(NamedTuple):
    """The jobs of one queue and one priority: they leave Redis in the order of their sending."""

    model: str
    priority: int


class Position(NamedTuple):
    """A place in a lane; its jobs are in the order of these."""

    due_at: datetime
    id: str


class Entry(NamedTuple):
    """A job in its lane."""

    id: str
    due_at: datetime
    finished: bool


class Ledger:
    """The table ``jobs``, lane by lane. Every method:

    Parameters:
        engine: from :func:`labelmill.db.database.create_database_engine`.

    Raises:
        DatabaseUnavailable: if the database cannot be reached; the call can be tried again.
        SchemaOutOfDate: if the database has not been migrated to this version.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = for_single_statements(engine)

    def lanes(self) -> list[Lane]:
        """The lanes that have jobs; an index lookup each, however many jobs there are."""
        model, priority = _JOBS.c.model, _JOBS.c.priority
        first = select(model, priority).order_by(model, priority).limit(1)
        lanes: list[Lane] = []
        with translated(self._engine), self._engine.connect() as connection:
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

    def page(
        self, lane: Lane, after: Position | None, due_before: datetime, limit: int
    ) -> list[Entry]:
        """The next jobs of a lane, the longest due first, and whether each has its row.

        Parameters:
            after: the last job of the page before; None for the beginning.
            due_before: where to end.
            limit: the most jobs.
        """
        place = tuple_(_JOBS.c.due_at, _JOBS.c.id)
        # The page first: only its own jobs are looked up among the results.
        due = (
            select(*place)
            .where(_JOBS.c.model == lane.model, _JOBS.c.priority == lane.priority)
            .where(_JOBS.c.due_at < due_before)
            .order_by(*place)
            .limit(limit)
        )
        if after is not None:
            due = due.where(place > after)
        page = due.subquery()
        query = (
            select(page.c.id, page.c.due_at, _RESULTS.c.id.is_not(None))
            .join_from(page, _RESULTS, page.c.id == _RESULTS.c.id, isouter=True)
            .order_by(page.c.due_at, page.c.id)
        )
        with translated(self._engine), self._engine.connect() as connection:
            return [Entry(*row) for row in connection.execute(query)]

    def claim_lost(
        self, ids: Sequence[str], due_before: datetime, sent_at: datetime
    ) -> list[LedgerRow]:
        """Take it on to send these jobs again: those that have no row and nobody else has claimed.

        One atomic step. A claim makes a job due anew, so a second one finds it no longer due.

        Parameters:
            due_before: what has been due since before then is lost.
            sent_at: now.
        """
        return self._claim(ids, _JOBS.c.due_at < due_before, sent_at)

    def claim_unsent(self, ids: Sequence[str], sent_at: datetime) -> list[LedgerRow]:
        """Take it on to send those of these jobs that are committed and were not claimed before.

        Parameters:
            sent_at: now.
        """
        with translated(self._engine), self._engine.connect() as connection:
            committed = list(
                connection.scalars(select(_JOBS.c.id).where(_JOBS.c.id.in_(_storable(ids))))
            )
        # Asked first, since writing would wait for the transaction that may still be open.
        if not committed:
            return []
        return self._claim(committed, _JOBS.c.due_at == _due(_JOBS.c.enqueued_at), sent_at)

    def claim_again(
        self, ids: Sequence[str], claimed_at: datetime, sent_at: datetime
    ) -> list[LedgerRow]:
        """Take it on anew to send those of these jobs that nobody else has claimed meanwhile.

        Parameters:
            claimed_at: when they were enqueued, or claimed, to be sent.
            sent_at: now.
        """
        return self._claim(ids, _JOBS.c.due_at == _due(claimed_at), sent_at)

    def withdraw(self, ids: Sequence[str]) -> None:
        """Take jobs out again that could not be sent, save those that somebody has claimed since.

        Whoever claims a job sends it, and may have told a caller so.
        """
        unclaimed = _JOBS.c.due_at == _due(_JOBS.c.enqueued_at)
        with translated(self._engine), self._writer.begin() as connection:
            for start in range(0, len(ids), _IDS_A_STATEMENT):
                some = _storable(ids[start : start + _IDS_A_STATEMENT])
                connection.execute(delete(_JOBS).where(_JOBS.c.id.in_(some), unclaimed))

    def _claim(
        self, ids: Sequence[str], condition: ColumnElement[bool], sent_at: datetime
    ) -> list[LedgerRow]:
        has_row = select(_RESULTS.c.id).where(_RESULTS.c.id == _JOBS.c.id).exists()
        claimable = (
            select(_JOBS.c.id)
            .where(_JOBS.c.id.in_(_storable(ids)), condition, ~has_row)
            # Whoever has locked a row is claiming it; and nobody waits for another in a circle.
            .with_for_update(skip_locked=True)
        )
        claim = (
            update(_JOBS)
            .where(_JOBS.c.id.in_(claimable))
            .values(due_at=_due(sent_at))
            .returning(*_JOBS.c)
        )
        with translated(self._engine), self._writer.begin() as connection:
            return [cast("LedgerRow", row) for row in connection.execute(claim).mappings()]


def add_job(connection: Connection, row: JobRow) -> bool:
    """Write a job into the ledger within a transaction of the caller's; False if it was there.

    Raises:
        ConfigurationError: if the connection is not to SQLite or PostgreSQL.
        DatabaseUnavailable: if the database went away or stayed locked.
        SchemaOutOfDate: if it has no ledger of this version.
    """
    [values] = storable_jobs([row])
    insert: postgresql.Insert | sqlite.Insert
    if connection.dialect.name == "postgresql":
        insert = postgresql.insert(_JOBS).values(**values).on_conflict_do_nothing()
    elif connection.dialect.name == "sqlite":
        insert = sqlite.insert(_JOBS).values(**values).on_conflict_do_nothing()
    else:
        raise ConfigurationError(
            f"a {connection.dialect.name} transaction cannot hold jobs: begin it on the results"
            " database, SQLite or PostgreSQL"
        )
    statement = insert.returning(_JOBS.c.id)
    with translated(connection.engine):
        return connection.execute(statement).scalar_one_or_none() is not None


def _due(sent_at: datetime | ColumnElement[datetime]) -> ColumnElement[datetime]:
    """:func:`labelmill.db.rows.due` in SQL."""
    return case((_JOBS.c.eta > sent_at, _JOBS.c.eta), else_=sent_at)


def _storable(ids: Sequence[str]) -> list[str]:
    return [storable_text(each) for each in ids]
