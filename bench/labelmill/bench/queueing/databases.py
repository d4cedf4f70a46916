"""The results databases: a fresh one for every trial, and counting its rows from outside.

Both sides write into the same table, made by Labelmill's own migration, with the same indexes.
"""

from __future__ import annotations

import itertools
import sqlite3
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from labelmill.db import schema


class Kind(StrEnum):
    """Which database."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


class Database(ABC):
    """One migrated database, looked at through a connection of our own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def count(self) -> int:
        """How many results there are."""
        return int(self._query("SELECT count(*) FROM results")[0][0])

    def failures(self) -> list[str]:
        """The error codes of all results that failed."""
        query = "SELECT error_code FROM results WHERE status = 'failed'"
        return [row[0] for row in self._query(query)]

    def succeeded(self) -> list[str]:
        """The ids of all results that succeeded."""
        return [row[0] for row in self._query("SELECT id FROM results WHERE status = 'succeeded'")]

    @abstractmethod
    def has(self, job_id: str) -> bool:
        """Whether that job has its row."""

    @abstractmethod
    def _query(self, query: str) -> Sequence[Sequence[Any]]: ...


class SqliteDatabase(Database):
    """A file."""

    def __init__(self, url: str, connection: sqlite3.Connection) -> None:
        super().__init__(url)
        self._connection = connection

    def has(self, job_id: str) -> bool:
        """Whether that job has its row."""
        query = "SELECT 1 FROM results WHERE id = ?"
        return self._connection.execute(query, (job_id,)).fetchone() is not None

    def _query(self, query: str) -> Sequence[Sequence[Any]]:
        return self._connection.execute(query).fetchall()


class Databases(ABC):
    """Makes databases of one kind."""

    kind: Kind

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    @abstractmethod
    @contextmanager
    def fresh(self) -> Iterator[Database]:
        """A new, migrated and empty database, for as long as the block lasts."""

    @abstractmethod
    def version(self) -> str:
        """Which version of the database this is."""


class SqliteDatabases(Databases):
    """Files in a folder; write-ahead log and ``synchronous=NORMAL`` on both sides."""

    kind = Kind.SQLITE

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    @contextmanager
    def fresh(self) -> Iterator[Database]:
        """A new file."""
        path = self._folder / f"trial{next(self._numbers)}.db"
        url = f"sqlite:///{path}"
        schema.upgrade(url)
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            yield SqliteDatabase(url, connection)
        finally:
            connection.close()
            for file in self._folder.glob(f"{path.name}*"):
                file.unlink()

    def version(self) -> str:
        """The library's."""
        return sqlite3.sqlite_version


@contextmanager
def sqlite_databases() -> Iterator[SqliteDatabases]:
    """Files in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="labelmill-bench-") as folder:
        yield SqliteDatabases(Path(folder))
