"""Joined transactions: jobs that are enqueued in a caller's own, and sent once it is committed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, cast

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from db.errors import ServiceUnavailable

logger = logging.getLogger(__name__)

Transaction = Connection | Session | scoped_session[Any]
"""What a caller's transaction is known by."""


def connection_of(transaction: Transaction) -> Connection:
    """The connection on which a transaction runs; a session begins one if it has none."""
    return transaction if isinstance(transaction, Connection) else transaction.connection()


class JoinedTransactions:
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
        try:
            sent = set(self._publish(ids))
        except ServiceUnavailable as error:
            # The caller's commit is done, and must not look as if it had failed.
            logger.warning("%d jobs are left to the reconciler: %s", len(ids), error)
        else:
            ids[:] = [each for each in ids if each not in sent]

    def _ended(self, session: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is None:
            self._ids(session).clear()

    def _ids(self, session: Session) -> list[str]:
        return cast("list[str]", session.info[self])
