"""The writer: a group's rows into the database, whatever the database does meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event
from typing import TypeVar

from labelmill.core.errors import SchemaOutOfDate, ServiceUnavailable
from labelmill.core.result import Result
from labelmill.db.database import Database
from labelmill.db.errors import blames_rows
from labelmill.worker import steps
from labelmill.worker.retry import insisting
from labelmill.worker.steps import Written
from labelmill.worker.stopwatch import Stopwatch

_In = TypeVar("_In")
_Out = TypeVar("_Out")

_SLOW_SECONDS = 2  # a write takes milliseconds; one that hangs is a database that is away


class RowWriter:
    """Writes rows in groups; a database that is away, locked or full is waited for.

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

    def write(
        self,
        rows: Sequence[Result],
        *,
        blamed: bool = False,
        cleaned: Callable[[str, str], str] = lambda _id, words: words,
    ) -> Written:
        """Write them, and find those that the database refuses for what they hold.

        Parameters:
            blamed: whether it is known that the database takes other rows.
            cleaned: as for :func:`labelmill.worker.steps.write`.

        Raises:
            AllRefused: the database refuses all of them alike, and others too.
            GaveUp: it was given up; some may have been written.
        """
        takes = self._takes if not blamed else lambda _: True
        return steps.write(self._write, rows, takes=takes, cleaned=cleaned)

    def is_taken(self, row: Result) -> bool:
        """Whether the database takes rows again: this one, which it has refused, or others.

        Raises:
            GaveUp: it was given up.
        """
        try:
            self._write([row])
        except Exception as error:
            if not blames_rows(error):
                raise
            return self._takes(steps.plain(row))
        return True

    def written(self, ids: Sequence[str]) -> list[Result]:
        """The rows of these jobs as the database has them; it is waited for.

        Raises:
            GaveUp: it was given up.
        """
        return list(self._insistently(self._database.results.get_many, ids).values())

    def _takes(self, row: Result) -> bool:
        return self._insistently(self._database.results.takes, row)

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
