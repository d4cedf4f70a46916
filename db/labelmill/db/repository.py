"""The repository: what those of all tables have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Select, Table, select

from labelmill.core.errors import DatabaseUnavailable
from labelmill.core.fields import fields_of
from labelmill.core.text import storable_text
from labelmill.db.connection import for_single_statements, for_writing, patiently
from labelmill.db.errors import RowsNotKept, connection_was_lost, once_more, translated
from labelmill.db.insert import insert_missing
from labelmill.db.rows import Row

_IDS_A_QUERY = 1000

_Record = TypeVar("_Record")


class Repository:
    """One table of the database. Every method:

    Parameters:
        engine: from :func:`labelmill.db.connection.create_database_engine`.

    Raises:
        DatabaseUnavailable: if the database cannot be reached; the call can be tried again.
        SchemaOutOfDate: if the database has not been migrated to this version.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._single = for_single_statements(engine)
        self._writer = for_writing(engine)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with translated(self._engine), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _reading_at_length(self) -> Iterator[Connection]:
        """For what reads many rows: it may take as long as the server works on it."""
        with self._reading() as connection, patiently(connection):
            yield connection

    @contextmanager
    def _one_statement(self) -> Iterator[Connection]:
        """For one statement, which is then committed, on PostgreSQL by itself in one round trip."""
        with translated(self._engine), self._single.begin() as connection:
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with translated(self._engine), self._writer.begin() as connection:
            yield connection

    def _insert(self, table: Table, rows: Sequence[Row], mark: str) -> set[str]:
        """Commit the rows whose ids are not in the table, and return those ids.

        Parameters:
            rows: as :mod:`.rows` returns them.
            mark: the column of a time that tells these rows from others' of the same ids, for
                when they are committed and the reply is lost.
        """
        if not rows:
            return set()
        try:
            return self._insert_missing(table, rows)
        except DatabaseUnavailable as error:
            if not connection_was_lost(error):
                raise
        added = self._insert_missing(table, rows)
        marks = {row["id"]: row[mark] for row in rows if row["id"] not in added}
        with self._reading() as connection:
            for some in blocks_of(list(marks)):
                written = select(table.c.id, table.c[mark]).where(table.c.id.in_(some))
                found = connection.execute(written)
                added.update(id for id, moment in found if moment == marks[id])
        return added

    def _insert_missing(self, table: Table, rows: Sequence[Row]) -> set[str]:
        with self._one_statement() as connection:
            return insert_missing(connection, table, rows)

    def _require_kept(self, table: Table, rows: Sequence[Row], inserted: set[str]) -> None:
        """Check that the rows that were not inserted are those that were there before.

        Raises:
            RowsNotKept: if some are nowhere.
        """
        others = [row["id"] for row in rows if row["id"] not in inserted]
        with self._reading() as connection:
            for some in blocks_of(others):
                there = set(connection.scalars(select(table.c.id).where(table.c.id.in_(some))))
                others = [each for each in others if each not in there]
        if others:
            raise RowsNotKept(frozenset(inserted), frozenset(others))

    @once_more
    def _get(
        self, table: Table, query: Select[*tuple[Any, ...]], make: Callable[..., _Record], key: str
    ) -> _Record | None:
        """The record of an id, or None."""
        with self._reading() as connection:
            row = connection.execute(query.where(table.c.id == storable_text(key))).one_or_none()
        return None if row is None else make(*row)

    @once_more
    def _get_many(
        self,
        table: Table,
        query: Select[*tuple[Any, ...]],
        make: Callable[..., _Record],
        ids: Sequence[str],
    ) -> dict[str, _Record]:
        """The records of those ids that have one, by the ids as they were asked for, in order."""
        found: dict[str, _Record] = {}
        with self._reading() as connection:
            for some in blocks_of(ids):
                rows = connection.execute(query.where(table.c.id.in_(some)))
                found.update((row.id, make(*row)) for row in rows)
        return {each: found[key] for each in ids if (key := storable_text(each)) in found}


def select_record(table: Table, record: type[Any]) -> Select[*tuple[Any, ...]]:
    """The columns of a table that are a record's fields, in their order."""
    return select(*(table.c[each.name] for each in fields_of(record) if each.name in table.c))


def blocks_of(ids: Sequence[str]) -> Iterator[list[str]]:
    """The ids as the database has them, as many at a time as one statement takes."""
    for start in range(0, len(ids), _IDS_A_QUERY):
        yield [storable_text(each) for each in ids[start : start + _IDS_A_QUERY]]
