"""Which databases are measured on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum

from labelmill.bench.queueing.databases import Databases, Kind, sqlite_databases


class Choice(StrEnum):
    """Which databases to measure on."""

    SQLITE = Kind.SQLITE
    POSTGRESQL = Kind.POSTGRESQL
    BOTH = "both"

    def includes(self, kind: Kind) -> bool:
        """Whether that database was chosen."""
        return self.value in (kind, "both")


@contextmanager
def chosen_databases(choice: Choice, *, fsync: bool) -> Iterator[list[Databases]]:
    """The databases that were chosen, for as long as the block lasts."""
    with ExitStack() as stack:
        databases: list[Databases] = []
        if choice.includes(Kind.SQLITE):
            databases.append(stack.enter_context(sqlite_databases()))
        if choice.includes(Kind.POSTGRESQL):
            # Where rows go into SQLite alone, no driver and no server of PostgreSQL is needed.
            from labelmill.bench.queueing.postgresql import postgresql_databases

            databases.append(stack.enter_context(postgresql_databases(fsync=fsync)))
        yield databases
