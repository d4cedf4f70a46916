"""Failures of the database as errors of Labelmill: the one place where they are translated."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import (
    DatabaseError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from labelmill.core.errors import DatabaseUnavailable, LabelmillError, SchemaOutOfDate
from labelmill.core.text import storable_text
from labelmill.db.connection import shown
from labelmill.db.files import advice

_UNDEFINED_TABLE = "42P01"
_UNDEFINED_COLUMN = "42703"
_NO_PRIVILEGE = "42501"
# Classes of SQLSTATE that are the database's: its connections and sessions, transactions that it
# ended, its limits and operators, its own faults, and a table that is not as the statement needs
# it. All others are of the rows, or of whatever a trigger makes up.
_OF_THE_STATEMENT = ("0A", "26", "34", "3D", "3F", "42", "XX")
_OF_THE_DATABASE = (*_OF_THE_STATEMENT, "08", "25", "28", "40", "53", "55", "57", "58", "F0", "HV")
# Where PostgreSQL checks a row against the policies of row-level security. Its message is in the
# server's language, and the SQLSTATE is that of any missing right.
_ROW_POLICIES = "ExecWithCheckOptions"
_LONGEST_WORDS = 300
_QUOTED = re.compile(
    '["\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}'
    "\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK}\N{DOUBLE LOW-9 QUOTATION MARK}"
    "\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}].*"
)


class RowsNotKept(Exception):
    """The database took rows, and some of them are not there: a trigger or a rule dropped them.

    Attributes:
        inserted: the ids of the others that were new.
        ids: those of the rows that are not there.
    """

    def __init__(self, inserted: frozenset[str], ids: frozenset[str]) -> None:
        super().__init__(
            f"the database took {len(ids)} rows and did not keep them (a trigger, or a rule?)"
        )
        self.inserted = inserted
        self.ids = ids


_P = ParamSpec("_P")
_Out = TypeVar("_Out")


@contextmanager
def translated(engine: Engine) -> Iterator[None]:
    """Raise what the driver raises inside the block as errors of Labelmill.

    Raises:
        DatabaseUnavailable: if the database cannot be reached, went away, stayed locked, ended
            the transaction in favour of another, is full, or refuses to be written to at all.
        SchemaOutOfDate: if a table or a column is missing.
    """
    try:
        yield
    except DBAPIError as error:
        translation = _translation(error, engine)
        if translation is None:
            raise
        raise translation from error
    except PoolTimeoutError as error:
        raise DatabaseUnavailable(
            f"no free connection to the database {shown(engine.url)}: {error}"
        ) from error


def blames_rows(error: BaseException) -> bool:
    """Whether a write failed for what its rows hold: without the row at fault it might succeed.

    It might not: a trigger or a constraint can refuse every row, for a reason that is the
    database's. Only other rows tell. Such errors are raised as they are, by :func:`translated` too.
    """
    if not isinstance(error, DBAPIError):
        # What labelmill.db.rows refuses, or the JSON encoder.
        return isinstance(error, RowsNotKept | ValueError | TypeError | OverflowError)
    state = _sqlstate(error.orig)
    if state is None:
        return isinstance(error, DataError | IntegrityError)
    if not state.startswith(_OF_THE_DATABASE):
        return True
    diagnosis = getattr(error.orig, "diag", None)
    # With a context it is about a statement within a function, such as a trigger's.
    return (state.startswith(_OF_THE_STATEMENT) and bool(getattr(diagnosis, "context", None))) or (
        state == _NO_PRIVILEGE and getattr(diagnosis, "source_function", None) == _ROW_POLICIES
    )


def words_of(error: BaseException) -> str:
    """What the database says of a row that it refuses: one line, with the SQLSTATE.

    The details, in which PostgreSQL quotes the row, are left out, as are values in messages of the
    database's own. The message of a trigger is its author's: whoever knows what is private in the
    row takes that out (:func:`labelmill.core.text.redacted`).
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    state = _sqlstate(cause)
    message = getattr(getattr(cause, "diag", None), "message_primary", None) or str(cause)
    line = " ".join(message.split())
    if state is not None and state.startswith("22"):
        line = _QUOTED.sub("\N{HORIZONTAL ELLIPSIS}", line)
    line = storable_text(line)
    if len(line) > _LONGEST_WORDS:
        line = line[: _LONGEST_WORDS - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return f"{line} (SQLSTATE {state})" if state is not None else line


def _sqlstate(cause: BaseException | None) -> str | None:
    # Of a state that psycopg does not know, only the diagnosis has it.
    state = getattr(cause, "sqlstate", None) or getattr(
        getattr(cause, "diag", None), "sqlstate", None
    )
    return None if state is None else str(state)


def connection_was_lost(error: BaseException) -> bool:
    """Whether an error of :func:`translated` came over a connection that is not used again.

    What was asked for may have been done; and it may be done over another connection.
    """
    cause = error.__cause__
    return isinstance(cause, DBAPIError) and cause.connection_invalidated


def once_more(function: Callable[_P, _Out]) -> Callable[_P, _Out]:
    """Let a function be tried again when its connection was lost or is not used again.

    Whoever has kept a connection is then no worse off than who opens one now. The function must
    bear it: what it asked for may have been done.
    """

    @wraps(function)
    def call(*arguments: _P.args, **options: _P.kwargs) -> _Out:
        try:
            return function(*arguments, **options)
        except DatabaseUnavailable as error:
            if not connection_was_lost(error):
                raise
        return function(*arguments, **options)

    return call


def _translation(error: DBAPIError, engine: Engine) -> LabelmillError | None:
    if blames_rows(error):
        return None
    if _is_missing_schema(error.orig):
        return SchemaOutOfDate(
            f"the database {shown(engine.url)} has not been migrated to this version. If it is the"
            " one that is meant (LABELMILL_DATABASE_URL, or the folder of labelmill up),"
            " run: labelmill db upgrade (of labelmill[cli], on any machine that reaches it)"
        )
    if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
        return DatabaseUnavailable(
            f"the database {shown(engine.url)} does not answer: {_first_line(error.orig)}"
            f"{advice(error.orig)}"
        )
    # A file that is no database, or a broken one.
    if type(error) is DatabaseError:
        return DatabaseUnavailable(
            f"the database {shown(engine.url)} cannot be read: {_first_line(error.orig)}"
        )
    # A standby, a role that was not given its rights yet, a table without its key: all are mended
    # from outside.
    if isinstance(error, InternalError) or _sqlstate(error.orig) is not None:
        return DatabaseUnavailable(
            f"the database {shown(engine.url)} cannot be used: {_first_line(error.orig)}"
        )
    return None


def _is_missing_schema(cause: BaseException | None) -> bool:
    if isinstance(cause, sqlite3.OperationalError):
        message = str(cause)
        return message.startswith(("no such table", "no such column")) or (
            "has no column named" in message
        )
    return _sqlstate(cause) in (_UNDEFINED_TABLE, _UNDEFINED_COLUMN)


def _first_line(cause: BaseException | None) -> str:
    return str(cause).partition("\n")[0] or type(cause).__name__
