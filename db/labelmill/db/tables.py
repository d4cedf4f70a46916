"""What is remembered: the three tables, and the tokens of the gateway.

::

    runs ──< jobs ──1 results
     one row a bulk    the ledger, written     one terminal row a job,
     submission        before publishing       append-only

They are joined by value, not by foreign keys: a bare ``send_task`` writes neither a run nor a
job, and its result must be kept all the same.

A table has the fields of its record as columns: a record's fields are written down once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    DefaultClause,
    Dialect,
    Double,
    Enum,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine

from labelmill.core.fields import fields_of
from labelmill.core.ids import Name
from labelmill.core.job import SubmittedJob
from labelmill.core.result import Result
from labelmill.core.run import Run
from labelmill.core.states import Status


class UTCDateTime(TypeDecorator[datetime]):
    """An aware datetime, in UTC on the way out of either database.

    SQLite has no time zones and PostgreSQL answers in the session's, so neither can be left to
    the driver. Naive datetimes are refused: which zone was meant is anybody's guess.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time zone is needed: {value!r} has none")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Token(NamedTuple):
    """One token of the gateway; what its bearer says is kept as a hash alone.

    Attributes:
        name: for whom it was made, to be read by people.
        hash: SHA-256, in hexadecimal digits.
        scopes: what it allows, separated by spaces.
    """

    id: Name
    name: str
    hash: Annotated[str, 64]
    scopes: str
    created_at: datetime
    revoked_at: datetime | None = None


_BY_TYPE: dict[type, TypeEngine[Any]] = {
    str: Text(),
    int: Integer(),
    float: Double(),
    datetime: UTCDateTime(),
    Status: Enum(
        Status,
        name="status",
        native_enum=False,
        create_constraint=True,
        length=16,
        values_callable=lambda members: [member.value for member in members],
    ),
    # Scores. What is sent again as it was is JSON instead: JSONB would reorder keys and turn 1e20
    # into an integer.
    list: JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql"),
    Mapping: JSON(),
    dict: JSON(none_as_null=True),
}


def columns_of(record: type[Any]) -> Iterator[Column[Any]]:
    """A column for each field of a record, by its type; ``id`` is the primary key."""
    for name, kind, length, optional in fields_of(record):
        stored = _BY_TYPE[kind] if length is None else String(length)
        yield Column(name, stored, primary_key=name == "id", nullable=optional)


def names_of(table: Table) -> list[str]:
    """The names of a table's columns, in their order.

    As plain strings: SQLAlchemy's are of a class of their own, which dictionaries and encoders of
    JSON take long over.
    """
    return ["".join(column.name) for column in table.columns]


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)
"""What the migrations are compared with."""

# Only the jobs and the results of runs are in these indexes: a bare job pays nothing for them.
_OF_RUNS: dict[str, Any] = {
    "postgresql_where": text("run_id IS NOT NULL"),
    "sqlite_where": text("run_id IS NOT NULL"),
}

runs = Table("runs", metadata, *columns_of(Run), Index(None, "created_at", "id"))
runs.c.rejected.server_default = DefaultClause("0")

jobs = Table(
    "jobs",
    metadata,
    *(each for each in columns_of(SubmittedJob) if each.name != "sent_at"),
    # From when on a job is missed: when it was last sent, or its eta where that is later.
    Column("due_at", UTCDateTime(), nullable=False),
    Index(None, "run_id", **_OF_RUNS),
    # The reconciler sweeps the jobs of one queue and one priority from the oldest on. New entries
    # go to the end of each.
    Index(None, "model", "priority", "due_at", "id"),
)

results = Table(
    "results",
    metadata,
    *columns_of(Result),
    # The newest of a run, of a model and of all, a page at a time. New entries go to the end of
    # each index (of a run, of a model): one that began with the random ids took half of the rows
    # per second. The status lets a run be counted without touching the table.
    Index(None, "run_id", "finished_at", "id", "status", **_OF_RUNS),
    Index(None, "model", "finished_at", "id"),
    Index(None, "finished_at", "id"),
)

tokens = Table("tokens", metadata, *columns_of(Token), Index(None, "hash", unique=True))
