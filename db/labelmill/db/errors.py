"""Failures of the database as errors of Labelmill: the one place where they are translated."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from labelmill.core.errors import DatabaseUnavailable, LabelmillError, SchemaOutOfDate
from labelmill.db.connection import shown
from labelmill.db.files import advice

_UNDEFINED_TABLE = "42P01"
_UNDEFINED_COLUMN = "42703"
_NO_PRIVILEGE = "42501"
# Classes of SQLSTATE: data, integrity constraints, limits of the program (a row that is too long).
_OF_THE_ROWS = ("22", "23", "54")


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
    """Whether a write failed for what its rows hold: without the row at fault it would succeed.

    Such errors are raised as they are, by :func:`translated` too.
    """
    if not isinstance(error, DBAPIError):
        # What labelmill.db.rows refuses, or the JSON encoder.
        return isinstance(error, ValueError | TypeError | OverflowError)
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_OF_THE_ROWS)
    return isinstance(error, DataError | IntegrityError)


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
    # A standby, or a role that was not given its rights yet: both are mended from outside.
    if isinstance(error, InternalError) or (getattr(error.orig, "sqlstate", None) == _NO_PRIVILEGE):
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
    return getattr(cause, "sqlstate", None) in (_UNDEFINED_TABLE, _UNDEFINED_COLUMN)


def _first_line(cause: BaseException | None) -> str:
    return str(cause).partition("\n")[0] or type(cause).__name__
