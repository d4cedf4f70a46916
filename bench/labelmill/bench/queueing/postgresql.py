"""PostgreSQL as a results database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from labelmill.bench.queueing.databases import Database, Databases, Kind
from labelmill.db import schema
from labelmill.local.postgres import PostgresServer


class PostgresDatabase(Database):
    """A database of the embedded server."""

    def __init__(self, url: str, connection: psycopg.Connection) -> None:
        super().__init__(url)
        self._connection = connection

    def has(self, job_id: str) -> bool:
        """Whether that job has its row."""
        query = "SELECT 1 FROM results WHERE id = %s"
        return self._connection.execute(query, (job_id,)).fetchone() is not None

    def _query(self, query: str) -> Sequence[Sequence[Any]]:
        return self._connection.execute(query.encode()).fetchall()


class PostgresDatabases(Databases):
    """Databases of one server."""

    kind = Kind.POSTGRESQL

    def __init__(self, server: PostgresServer) -> None:
        super().__init__()
        self._url = make_url(server.url)

    @contextmanager
    def fresh(self) -> Iterator[Database]:
        """A new database of the server, dropped at the end."""
        name = f"trial{next(self._numbers)}"
        url = self._url.set(database=name).render_as_string(hide_password=False)
        with self._connect() as admin:
            admin.execute(f"CREATE DATABASE {name}".encode())
        try:
            schema.upgrade(url)
            with psycopg.connect(url, autocommit=True) as connection:
                yield PostgresDatabase(url, connection)
        finally:
            with self._connect() as admin:
                admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    def version(self) -> str:
        """The server's."""
        with self._connect() as admin:
            version = admin.execute("SHOW server_version").fetchall()[0][0]
            return str(version).split()[0]

    def _connect(self) -> psycopg.Connection:
        url = self._url.render_as_string(hide_password=False)
        return psycopg.connect(url, autocommit=True)


@contextmanager
def postgresql_databases(*, fsync: bool) -> Iterator[PostgresDatabases]:
    """Databases of a server of our own.

    Parameters:
        fsync: whether it waits for the disk at each commit.
    """
    with PostgresServer(durable=fsync) as server:
        yield PostgresDatabases(server)
