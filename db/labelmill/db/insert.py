"""Inserting rows whose ids may be there already: one statement a database.

The statements go to the driver as text, and the values in the form that the driver takes: binding
them through SQLAlchemy took more time than all else that a worker does around a model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any

from pydantic_core import to_json
from sqlalchemy import JSON, Connection, Enum, Table, bindparam, cast, column, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import IntegrityError
from sqlalchemy.types import Text

from labelmill.db.connection import schema_of
from labelmill.db.rows import Row
from labelmill.db.tables import UTCDateTime, names_of

# The driver keeps the last 128 statements of a connection; these are of as many lengths at most,
# and short enough for that to take little memory.
_ROWS_A_STATEMENT = 64


def insert_missing(connection: Connection, table: Table, rows: Sequence[Row]) -> set[str]:
    """Insert the rows whose ids are not in the table, and return those ids.

    Parameters:
        connection: of :func:`labelmill.db.connection.for_single_statements`.
        rows: as :mod:`.rows` returns them: each id once, sorted, nothing that cannot be stored.
    """
    if connection.dialect.name == "postgresql":
        document = to_json(rows).decode()
        statement = _insert_from_document(table, schema_of(connection))
        answer = connection.exec_driver_sql(statement, {"rows": document})
        return set(answer.scalars())
    inserted: set[str] = set()
    for start in range(0, len(rows), _ROWS_A_STATEMENT):
        some = rows[start : start + _ROWS_A_STATEMENT]
        try:
            kept = _insert(connection, table, some)
        except IntegrityError:
            # SQLite has undone this statement alone, and nobody else can write before the next
            # one: the transaction began as a writer. Save where a trigger has rolled it back.
            if not connection.connection.driver_connection.in_transaction:  # type: ignore[union-attr]
                raise
            some = _missing(connection, table, some)
            kept = _insert(connection, table, some) if some else 0
        if kept < len(some):
            # A trigger has dropped some: RAISE(IGNORE).
            absent = {row["id"] for row in _missing(connection, table, some)}
            some = [row for row in some if row["id"] not in absent]
        inserted.update(row["id"] for row in some)
    return inserted


def _insert(connection: Connection, table: Table, rows: Sequence[Row]) -> int:
    """Returns how many rows there are more."""
    parameters = tuple(chain.from_iterable(map(_to_sqlite(table), rows)))
    return connection.exec_driver_sql(_insert_values(table, len(rows)), parameters).rowcount


def _missing(connection: Connection, table: Table, rows: Sequence[Row]) -> list[Row]:
    ids = json.dumps([row["id"] for row in rows])
    present = set(connection.exec_driver_sql(_present_ids(table), (ids,)).scalars())
    return [row for row in rows if row["id"] not in present]


@cache
def _insert_from_document(table: Table, schema: str | None) -> str:
    # The group travels as one JSON document: one parameter, one round trip, one statement that
    # is the same for every group size. Of five ways it was the fastest or within a tenth of it
    # from 1 row to 1,000 (executemany needs twice the time at 16 rows; COPY through a temporary
    # table three times at 1, and it bloats the system catalogue with every group).
    columns = table.columns.values()
    fields = (
        func.json_to_recordset(cast(bindparam("rows", type_=Text), postgresql.JSON))
        .table_valued(*(column(each.name, each.type) for each in columns))
        .render_derived(with_types=True)
    )
    statement = (
        postgresql.insert(table)
        .from_select([each.name for each in columns], select(*fields.c).order_by(fields.c.id))
        .on_conflict_do_nothing(index_elements=[table.c.id])
        .returning(table.c.id)
    )
    compiled = statement.compile(
        dialect=PGDialect_psycopg(),  # type: ignore[no-untyped-call]
        schema_translate_map={None: schema} if schema else None,
        render_schema_translate=bool(schema),
    )
    return str(compiled)


@cache
def _present_ids(table: Table) -> str:
    ids = func.json_each(bindparam("ids", type_=Text)).table_valued("value")
    statement = select(table.c.id).where(table.c.id.in_(select(ids.c.value)))
    return str(statement.compile(dialect=sqlite.dialect()))


@cache
def _insert_values(table: Table, rows: int) -> str:
    # Not executemany: for each row it lets go of Python's lock, and then waits, behind a thread
    # that computes, up to the 5 ms of a thread's turn to get it back.
    row = f"({', '.join('?' * len(table.columns))})"
    names = ", ".join(table.columns.keys())
    return f"INSERT INTO {table.name} ({names}) VALUES {', '.join([row] * rows)}"  # noqa: S608


@cache
def _to_sqlite(table: Table) -> Callable[[Row], list[Any]]:
    """Makes the values of :func:`_insert_values` of a row, as SQLAlchemy's own types would."""
    conversions = [
        (index, convert)
        for index, each in enumerate(table.columns)
        for kind, convert in _SQLITE_FORMS.items()
        if isinstance(each.type, kind)
    ]
    values = itemgetter(*names_of(table))

    def convert(row: Row) -> list[Any]:
        stored = list(values(row))
        for index, form in conversions:
            value = stored[index]
            if value is not None:
                stored[index] = form(value)
        return stored

    return convert


@lru_cache(maxsize=128)  # the jobs of a group share most of their times
def _utc_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(" ", "microseconds").removesuffix("+00:00")


def _json_text(value: Any) -> str:
    return to_json(value).decode()


_SQLITE_FORMS: dict[type, Callable[[Any], object]] = {
    UTCDateTime: _utc_text,
    JSON: _json_text,
    Enum: attrgetter("value"),
}
