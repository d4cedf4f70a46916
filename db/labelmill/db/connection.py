"""Connections to the results database, SQLite or PostgreSQL."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from importlib.util import find_spec
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from labelmill.core.errors import ConfigurationError
from labelmill.core.settings import DatabaseSettings

_LOCK_TIMEOUT_S = 30
_CONNECT_TIMEOUT_S = 10
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
        parsed = make_url(url)
    except ArgumentError:
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
    _forget_connections_of_the_parent(engine)
    return engine


def _postgresql_engine(url: URL) -> Engine:
    if find_spec("psycopg") is None:
        raise ConfigurationError(f"{shown(url)} needs psycopg: pip install 'labelmill[postgres]'")
    connect_args: dict[str, str | int] = {
        "connect_timeout": _CONNECT_TIMEOUT_S,
        # Without it, a write into a network that swallows packets hangs for a quarter of an hour.
        "tcp_user_timeout": _LOCK_TIMEOUT_S * 1000,
    }
    engine = create_engine(
        url,
        # What the URL says goes before what we would say.
        connect_args={key: value for key, value in connect_args.items() if key not in url.query},
        json_serializer=_dump_json,
        hide_parameters=True,
    )
    _forget_connections_of_the_parent(engine)
    event.listen(engine, "checkout", _forget_ended_connection)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    # The driver's own transactions begin late and deferred; ours begin in _begin_sqlite.
    connection.isolation_level = None
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
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            return


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
