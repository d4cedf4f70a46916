"""Transactional enqueueing: jobs written in a caller's transaction, sent once it is committed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast, runtime_checkable

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from labelmill.core.errors import ServiceUnavailable
from labelmill.core.job import SubmittedJob
from labelmill.db.dbapi import add_job_by_cursor
from labelmill.db.jobs import add_job

logger = logging.getLogger(__name__)


@runtime_checkable
class DjangoConnection(Protocol):
    """``django.db.connection``, or one of ``django.db.connections``."""

    vendor: str

    def cursor(self) -> Any:
        """A cursor within the connection's transaction."""

    def on_commit(self, func: Callable[[], object], /) -> None:
        """Have a function called after the commit, or at once where there is no transaction."""


Transaction = Connection | Session | scoped_session[Any] | DjangoConnection
"""What a caller's transaction is known by."""


def write_job(transaction: Transaction, schema: str | None, job: SubmittedJob) -> bool:
    """Write a job into the ledger within a transaction; False if its id was there.

    Parameters:
        schema: the schema of PostgreSQL in which the ledger lies; None for none of its own.

    Raises:
        ConfigurationError: the transaction is not of SQLite or PostgreSQL.
        DatabaseUnavailable: the database is away; with Django, its own errors are raised.
    """
    if isinstance(transaction, Connection):
        return add_job(transaction, schema, job)
    if isinstance(transaction, Session | scoped_session):
        return add_job(transaction.connection(), schema, job)
    with transaction.cursor() as cursor:
        return add_job_by_cursor(cursor, transaction.vendor, schema, job)


class TransactionalEnqueue:
    """Remembers what was enqueued in each session, and publishes it after the commit.

    A bare connection has no such hook: SQLAlchemy tells of its commit before it is done.

    Parameters:
        publish: sends those of some jobs that are committed. A commit may be that of a savepoint,
            or of a session within a larger transaction: only the database knows.
    """

    def __init__(self, publish: Callable[[Sequence[str]], Sequence[str]]) -> None:
        self._publish = publish

    def enqueued(self, transaction: Transaction, job_id: str) -> None:
        """Remember a job that was written in this transaction."""
        if isinstance(transaction, Connection):
            return
        if not isinstance(transaction, Session | scoped_session):
            transaction.on_commit(lambda: self._send([job_id]))
            return
        session = transaction() if isinstance(transaction, scoped_session) else transaction
        if self not in session.info:
            session.info[self] = []
            event.listen(session, "after_commit", self._committed)
            event.listen(session, "after_transaction_end", self._ended)
        self._ids(session).append(job_id)

    def _committed(self, session: Session) -> None:
        ids = self._ids(session)
        if not ids:
            return
        sent = self._send(ids)
        ids[:] = [each for each in ids if each not in sent]

    def _send(self, ids: Sequence[str]) -> set[str]:
        try:
            return set(self._publish(ids))
        except ServiceUnavailable as error:
            # The caller's commit is done, and must not look as if it had failed.
            logger.warning("%d jobs are left to the reconciler: %s", len(ids), error)
            return set()

    def _ended(self, session: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is None:
            self._ids(session).clear()

    def _ids(self, session: Session) -> list[str]:
        return cast("list[str]", session.info[self])
