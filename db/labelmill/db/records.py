"""Results with what their jobs were about, in bulk.

They are fetched as the driver gives them and made into values a column at a time: most times,
and all statuses, stand in many rows of a block and are made once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from pydantic_core import from_json
from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Enum,
    Select,
    Text,
    case,
    cast,
    func,
    select,
    type_coerce,
)

from labelmill.core.result import RESULT_COLUMNS, LabelScore, Result
from labelmill.core.states import Status
from labelmill.db.filters import job_input
from labelmill.db.tables import UTCDateTime, jobs, results

INLINE_IMAGE = "inline image"
"""The input of a job that has its image in its message, without a name."""

ROWS_A_FETCH = 2000


class Record(NamedTuple):
    """A result and its job's input.

    ``input`` is the text, or the image's name, or else its uri or ``INLINE_IMAGE``; None if the
    ledger has no such job.
    """

    result: Result
    input: str | None


def select_records() -> Select[*tuple[Any, ...]]:
    """The query of all records, for :func:`read_records`; the jobs are joined to it."""
    columns = [_unconverted(results.c[name]) for name in RESULT_COLUMNS]
    about = func.coalesce(job_input(), case((jobs.c.id.is_not(None), INLINE_IMAGE)))
    return select(*columns, about).outerjoin(jobs, jobs.c.id == results.c.id)


def read_records(connection: Connection, query: Select[*tuple[Any, ...]]) -> Iterator[Record]:
    """What a query of :func:`select_records` finds, fetched as it is asked for."""
    found = connection.execution_options(yield_per=ROWS_A_FETCH).execute(query)
    with closing(found):
        for block in found.partitions():
            yield from _records(block)


def _records(rows: Sequence[Sequence[Any]]) -> Iterator[Record]:
    *columns, inputs = zip(*rows, strict=True)
    converted = [
        convert(column) if (convert := _CONVERSIONS[name]) else column
        for name, column in zip(RESULT_COLUMNS, columns, strict=True)
    ]
    return map(Record, map(Result, *converted), inputs)


def _unconverted(column: Column[Any]) -> ColumnElement[Any]:
    """A column as the driver gives it; SQLAlchemy would convert value by value."""
    if isinstance(column.type, JSON):
        return cast(column, Text)
    return type_coerce(column, Text) if _CONVERSIONS[column.name] else column


def _times(column: Sequence[str | datetime | None]) -> Sequence[datetime | None]:
    return _each_once(column, _time)


def _time(value: str | datetime) -> datetime:
    # SQLite has text without a zone, which is UTC; PostgreSQL answers in the session's zone.
    if isinstance(value, str):
        return datetime.fromisoformat(f"{value}+00:00")
    return value.astimezone(UTC)


def _statuses(column: Sequence[str]) -> Sequence[Status | None]:
    return _each_once(column, Status)


def _scores(column: Sequence[str | None]) -> Sequence[list[LabelScore] | None]:
    return [None if value is None else from_json(value) for value in column]


_Out = TypeVar("_Out")


def _each_once(column: Sequence[Any], convert: Callable[[Any], _Out]) -> Sequence[_Out | None]:
    values = {value: None if value is None else convert(value) for value in set(column)}
    return [values[value] for value in column]


_BY_TYPE: dict[type, Callable[[Sequence[Any]], Sequence[Any]]] = {
    Enum: _statuses,
    JSON: _scores,
    UTCDateTime: _times,
}
_CONVERSIONS = {
    column.name: next(
        (each for kind, each in _BY_TYPE.items() if isinstance(column.type, kind)), None
    )
    for column in results.c
}
