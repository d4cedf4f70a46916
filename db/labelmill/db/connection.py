"""Connections to the results database, SQLite or PostgreSQL."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from labelmill.core.errors import ConfigurationError
from labelmill.core.settings import DatabaseSettings

_LOCK_TIMEOUT_S = 30
_WRITES = "labelmill_writes"
_SCHEMAS = "schema_translate_map"
_SCHEMA_NAME = re.compile("[a-z][a-z0-9_]{0,62}")


def create_database_engine(url: str, schema: str | None = None) -> Engine:
    """An engine for ``url``, set up for several processes that write at once.

    Parameters:
        url: ``sqlite:///path`` or ``postgresql://user:password@host/database``.
        schema: the schema of PostgreSQL in which Labelmill's tables lie, whatever the search path;
            empty for none of their own. By default that of ``LABELMILL_DATABASE_SCHEMA``.

    Raises:
        ConfigurationError: if the URL cannot be used, or its driver is not installed.
    """
    try:
        parsed = make_url(_with_hosts_in_query(url))
    except (ArgumentError, ValueError):
        # The message of SQLAlchemy repeats the URL, and the URL may hold a password.
        raise ConfigurationError(
            "LABELMILL_DATABASE_URL cannot be read; write sqlite:///labelmill.db or"
            " postgresql://user:password@host/database"
        ) from None
    schema = (DatabaseSettings().database_schema if schema is None else schema) or ""
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if schema:
            raise ConfigurationError(
                "LABELMILL_DATABASE_SCHEMA is for PostgreSQL; an SQLite database has no schemas:"
                " name a file of its own in LABELMILL_DATABASE_URL, and unset the schema"
            )
        return _sqlite_engine(parsed)
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return _within(schema, _postgresql_engine(parsed.set(drivername="postgresql+psycopg")))
    raise ConfigurationError(
        f"the database URL begins with {parsed.drivername}://;"
        " labelmill keeps its results in sqlite:// or postgresql://"
    )


def for_writing(engine: Engine) -> Engine:
    """The same engine (and pool), whose transactions take SQLite's write lock when they begin.

    A transaction that begins by reading and then writes would have to change a read lock into a
    write lock; when another process wrote in between, SQLite fails it at once, however long
    ``busy_timeout`` is. One that begins as a writer waits for its turn. PostgreSQL does not care.
    """
    return engine.execution_options(**{_WRITES: True})


def for_single_statements(engine: Engine) -> Engine:
    """The same engine (and pool), for writes that are one statement on PostgreSQL.

    There each statement commits itself, in one round trip: BEGIN and COMMIT would be two more. On
    SQLite, where they cost nothing, it is :func:`for_writing`.
    """
    if engine.dialect.name == "postgresql":
        return engine.execution_options(isolation_level="AUTOCOMMIT")
    return for_writing(engine)


def schema_of(engine: Engine | Connection) -> str | None:
    """The schema in which the tables lie by this engine or connection; None for none of their own.

    SQLAlchemy writes it before the tables' names. What is written as text has to do the same, and
    the search path is left alone: poolers keep no state of a session.
    """
    schema: str | None = engine.get_execution_options().get(_SCHEMAS, {}).get(None)
    return schema


def in_schema(schema: str | None) -> dict[str, Any]:
    """The execution options by which tables are found in a schema, and nowhere else."""
    return {_SCHEMAS: {None: schema} if schema else {}}


@contextmanager
def patiently(connection: Connection) -> Iterator[None]:
    """Let statements of this transaction take as long as the server is at work on them.

    Others are given up when PostgreSQL was silent for 20 seconds. SQLite's are never.
    """
    if connection.dialect.name != "postgresql":
        yield
        return
    from labelmill.db.postgresql import patiently as patiently_on_postgresql

    with patiently_on_postgresql(connection):
        yield


def shown(url: URL) -> str:
    """The URL without its password, for messages."""
    return url.render_as_string(hide_password=True)


def _within(schema: str, engine: Engine) -> Engine:
    if not schema:
        return engine
    if not _SCHEMA_NAME.fullmatch(schema) or schema.startswith("pg_"):
        raise ConfigurationError(
            f"LABELMILL_DATABASE_SCHEMA={schema[:80]!r} cannot be used: a schema's name has small"
            " letters, digits and underscores, and begins with a letter, but not with pg_"
        )
    return engine.execution_options(**in_schema(schema))


_SEVERAL_HOSTS = re.compile(
    r"(?P<before>postgres[^/?#]*://(?:[^/?#@]*@)?)(?P<hosts>[^/?#@]*,[^/?#@]*)(?=[/?#]|$)"
    r"(?P<path>/[^?#]*)?"
)

_HOST_AND_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>\d*))?$")


def _with_hosts_in_query(url: str) -> str:
    """``//host1:5432,host2:5433/name``, as libpq has several hosts, as SQLAlchemy has them."""
    found = _SEVERAL_HOSTS.match(url)
    if found is None:
        return url
    split = [_HOST_AND_PORT.match(each) for each in found["hosts"].split(",")]
    hosts = ",".join(each["host"].strip("[]") if each else "" for each in split)
    ports = ",".join((each["port"] if each else None) or "5432" for each in split)
    query = f"host={quote(hosts)}&port={ports}"
    rest = url[found.end() :].removeprefix("?")
    return f"{found['before']}{found['path'] or '/'}?{'&'.join(filter(None, [query, rest]))}"


# NaN is no JSON. PostgreSQL would refuse it in the middle of a group; refuse it on both.
_dump_json = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode


def _sqlite_engine(url: URL) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise ConfigurationError(
            "an SQLite database in memory cannot be shared between processes;"
            " name a file, as in sqlite:///labelmill.db"
        )
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"cannot make the folder of {shown(url)}: {error}") from error
    engine = create_engine(
        url,
        connect_args={"timeout": _LOCK_TIMEOUT_S},
        json_serializer=_dump_json,
        hide_parameters=True,
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    event.listen(engine, "handle_error", _judge_sqlite)
    _forget_connections_to_another_file(engine, Path(url.database).absolute())
    _forget_connections_of_the_parent(engine)
    return engine


def _postgresql_engine(url: URL) -> Engine:
    if find_spec("psycopg") is None:
        raise ConfigurationError(f"{shown(url)} needs psycopg: pip install 'labelmill[postgres]'")
    from labelmill.db.postgresql import create_postgresql_engine

    try:
        engine = create_postgresql_engine(url, json_serializer=_dump_json, hide_parameters=True)
    except ValueError as error:
        raise ConfigurationError(f"the database URL {shown(url)} cannot be used: {error}") from None
    _forget_connections_of_the_parent(engine)
    event.listen(engine, "checkout", _forget_ended_connection)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    # The driver's own transactions begin late and deferred; ours begin in _begin_sqlite.
    connection.isolation_level = None
    # How SQLite was compiled decides otherwise, or who linked it.
    connection.execute("PRAGMA locking_mode=NORMAL")
    connection.execute("PRAGMA foreign_keys=OFF")
    _use_write_ahead_log(connection)
    # With a write-ahead log, NORMAL survives the death of any process. A power cut may take the
    # last transactions, whose jobs are then still in the ledger.
    connection.execute("PRAGMA synchronous=NORMAL")
    # Ids come in random order and touch pages all over the index; merging the log back every
    # 16 MB instead of every 4 writes each page less often (a tenth more rows per second).
    connection.execute("PRAGMA wal_autocheckpoint=4000")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # Changing the journal mode of a fresh file needs the whole file, and SQLite does not wait for
    # that (the busy timeout is not asked): processes that start together have to try again.
    give_up = time.monotonic() + _LOCK_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if _primary(error) == sqlite3.SQLITE_READONLY:
                return  # a copy that is kept to be read
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            return


_OF_THE_FILE = {
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
}


def _judge_sqlite(context: ExceptionContext) -> None:
    """Throw away a connection that may be to a file which has changed under it."""
    connection = context.connection
    if connection is None or _primary(context.original_exception) not in _OF_THE_FILE:
        return
    # With a statement that was not ended its locks would stay.
    if context.execution_context is not None:
        context.execution_context.cursor.close()
    with suppress(sqlite3.Error):
        connection.connection.rollback()
    context.is_disconnect = True
    context.invalidate_pool_on_disconnect = True


def _primary(error: BaseException) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _forget_ended_connection(
    connection: DBAPIConnection, _entry: ConnectionPoolEntry, _proxy: PoolProxiedConnection
) -> None:
    """Let a connection go that its server has ended, before a statement fails on it.

    A server has nothing to say on a connection at rest but that it ends: looking whether there is
    something to read costs no round trip, as SQLAlchemy's own ping does.
    """
    if wait([connection.fileno()], timeout=0):
        raise DisconnectionError("the server has ended the connection")


def _forget_connections_to_another_file(engine: Engine, path: Path) -> None:
    """Let go of a file that was replaced, by a backup of it, say, or removed.

    What is written to a file without a name is lost when the last process closes it.
    """

    def remember(_connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        entry.info["file"] = _identity(path)

    def check(
        _connection: DBAPIConnection, entry: ConnectionPoolEntry, _proxy: PoolProxiedConnection
    ) -> None:
        if entry.info["file"] != _identity(path):
            raise DisconnectionError("the file has been replaced")

    event.listen(engine, "connect", remember)
    event.listen(engine, "checkout", check)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - each time a connection is used; half the time
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _forget_connections_of_the_parent(engine: Engine) -> None:
    """Let a forked process open its own connections.

    Web servers and Celery's pools fork after the application is loaded. Two processes on one
    connection mix up each other's answers (PostgreSQL) or break the file (SQLite).
    """

    def remember(_connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        entry.info["pid"] = os.getpid()

    def check(
        _connection: DBAPIConnection, entry: ConnectionPoolEntry, proxy: PoolProxiedConnection
    ) -> None:
        if entry.info["pid"] != os.getpid():
            entry.dbapi_connection = None  # type: ignore[misc]
            proxy.dbapi_connection = None  # type: ignore[misc]
            raise DisconnectionError("the connection belongs to the parent process")

    event.listen(engine, "connect", remember)
    event.listen(engine, "checkout", check)
