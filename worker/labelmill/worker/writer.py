"""The writer: a group's rows into the database, whatever the database does meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event
from typing import TypeVar

from celery.utils.log import get_logger

from labelmill.core.errors import ErrorCode, SchemaOutOfDate, ServiceUnavailable
from labelmill.core.result import Result
from labelmill.core.states import Status
from labelmill.db.database import Database
from labelmill.db.errors import blames_rows
from labelmill.worker.retry import insisting
from labelmill.worker.stopwatch import Stopwatch

logger = get_logger(__name__)

_In = TypeVar("_In")
_Out = TypeVar("_Out")

_SLOW_SECONDS = 2  # a write takes milliseconds; one that hangs is a database that is away


class RowWriter:
    """Writes rows in groups; a database that is away, locked or full is waited for.

    Where the database refuses a group for what a row of it holds, its halves are written, down to
    the row at fault: that one is replaced by one that says so.

    Parameters:
        giving_up: when set, nothing is waited for any longer.
    """

    def __init__(self, database: Database, giving_up: Event) -> None:
        self._database = database
        self._giving_up = giving_up
        self._failed = False
        self._writing = Stopwatch()

    @property
    def waiting(self) -> bool:
        """Whether the database is being waited for now; from any thread."""
        return self._failed or self._writing.seconds > _SLOW_SECONDS

    def write(self, rows: Sequence[Result]) -> tuple[list[Result], int]:
        """Write them; returns the rows as they were written, and how many of them were new.

        Raises:
            GaveUp: it was given up; some may have been written.
        """
        try:
            return list(rows), self._write(rows)
        except Exception as error:
            if not blames_rows(error):
                raise
            # The text of the error may quote the row.
            logger.warning("the database refuses %d rows: %s", len(rows), type(error).__name__)
        if len(rows) == 1:
            refused = [_refused(rows[0])]
            return refused, self._write(refused)
        half = len(rows) // 2
        first, new_first = self.write(rows[:half])
        second, new_second = self.write(rows[half:])
        return first + second, new_first + new_second

    def written(self, ids: Sequence[str]) -> list[Result]:
        """The rows of these jobs as the database has them; it is waited for.

        Raises:
            GaveUp: it was given up.
        """
        return list(self._insistently(self._database.results.get_many, ids).values())

    def _write(self, rows: Sequence[Result]) -> int:
        return self._insistently(self._database.results.write, rows)

    def _insistently(self, query: Callable[[_In], _Out], argument: _In) -> _Out:
        policy = insisting(
            ServiceUnavailable, SchemaOutOfDate, until=self._giving_up, on_wait=self._note_failure
        )
        try:
            with self._writing:
                return policy.call(query, argument)
        finally:
            self._failed = False

    def _note_failure(self) -> None:
        self._failed = True


def _refused(row: Result) -> Result:
    return row._replace(
        status=Status.FAILED,
        label=None,
        score=None,
        scores=None,
        error_code=ErrorCode.UNSTORABLE,
        error_message="the database refused what the model gave for this job alone; the worker's "
        "log says why",
    )
