"""Results with what their jobs were about, in bulk: as tuples, which read faster than objects.

They are fetched as the driver gives them and made into values a column at a time: most times,
and all statuses, stand in many rows of a block and are made once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from pydantic_core import from_json
from sqlalchemy import ColumnElement, Engine, Select, Text, case, cast, func, select, type_coerce

from labelmill.core.result import LabelScore, Status
from labelmill.db.errors import translated
from labelmill.db.filters import ResultFilter, by_columns, job_input, mentions
from labelmill.db.rows import storable_text
from labelmill.db.tables import Job, Result

INLINE_IMAGE = "inline image"
"""The input of a job that has its image in its message, without a name."""

_ROWS_A_FETCH = 2000
_IDS_A_QUERY = 1000


class Record(NamedTuple):
    """A result, column by column as in :class:`labelmill.db.tables.Result`, and its job's input.

    ``input`` is the text, or the image's name, or else its uri or ``INLINE_IMAGE``; None if the
    ledger has no such job.
    """

    id: str
    run_id: str | None
    model: str
    checkpoint: str | None
    revision: str | None
    status: Status
    label: str | None
    score: float | None
    scores: list[LabelScore] | None
    error_code: str | None
    error_message: str | None
    attempt: int
    group_size: int
    worker: str
    enqueued_at: datetime | None
    started_at: datetime
    finished_at: datetime
    input: str | None


class ResultOutline(NamedTuple):
    """The columns of a result that are counted."""

    id: str
    label: str | None
    score: float | None
    error_code: str | None
    checkpoint: str | None
    revision: str | None


class Records:
    """Results to be exported. Every method:

    Parameters:
        engine: from :func:`labelmill.db.database.create_database_engine`.

    Raises:
        DatabaseUnavailable: if the database cannot be reached.
        SchemaOutOfDate: if the database has not been migrated to this version.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def oldest_first(self, wanted: ResultFilter) -> Iterator[Record]:
        """All results that are wanted, as they were when the first one was read.

        They are fetched as they are asked for, so any number fits into memory.
        """
        return self._stream(self._query(wanted).order_by(Result.finished_at, Result.id))

    def newest_first(self, wanted: ResultFilter, limit: int) -> Iterator[Record]:
        """The newest results that are wanted."""
        order = (Result.finished_at.desc(), Result.id.desc())
        return self._stream(self._query(wanted).order_by(*order).limit(limit))

    def of(self, ids: Sequence[str], wanted: ResultFilter) -> dict[str, Record]:
        """The results of those jobs that have one that is wanted, by id."""
        found: dict[str, Record] = {}
        for start in range(0, len(ids), _IDS_A_QUERY):
            some = [storable_text(each) for each in ids[start : start + _IDS_A_QUERY]]
            rows = self._stream(self._query(wanted).where(Result.id.in_(some)))
            found.update((record.id, record) for record in rows)
        return {each: found[key] for each in ids if (key := storable_text(each)) in found}

    def outlines(self, wanted: ResultFilter) -> Iterator[ResultOutline]:
        """All results that are wanted, in no order, to be counted."""
        columns = [getattr(Result, name) for name in ResultOutline._fields]
        query = select(*columns).where(*by_columns(wanted))
        if wanted.text:
            query = query.outerjoin(Job, Job.id == Result.id)
            query = query.where(mentions(wanted.text, self._engine.dialect.name))
        with translated(self._engine), self._engine.connect() as connection:
            rows = connection.execution_options(yield_per=_ROWS_A_FETCH).execute(query)
            yield from map(ResultOutline._make, rows)

    def _query(self, wanted: ResultFilter) -> Select[*tuple[Any, ...]]:
        query = select(*_COLUMNS).outerjoin(Job, Job.id == Result.id).where(*by_columns(wanted))
        if wanted.text:
            query = query.where(mentions(wanted.text, self._engine.dialect.name))
        return query

    def _stream(self, query: Select[*tuple[Any, ...]]) -> Iterator[Record]:
        with translated(self._engine), self._engine.connect() as connection:
            result = connection.execution_options(yield_per=_ROWS_A_FETCH).execute(query)
            with closing(result):
                for block in result.partitions():
                    yield from _records(block)


def _unconverted(name: str) -> ColumnElement[Any]:
    """A column as the driver gives it; SQLAlchemy would convert value by value."""
    column = getattr(Result, name)
    if name == "scores":
        return cast(column, Text)
    return type_coerce(column, Text) if name in _CONVERSIONS else column


def _records(rows: Sequence[Sequence[Any]]) -> Iterator[Record]:
    columns = [
        convert(column) if (convert := _CONVERSIONS.get(name)) else column
        for name, column in zip(Record._fields, zip(*rows, strict=True), strict=True)
    ]
    return map(Record._make, zip(*columns, strict=True))


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


_CONVERSIONS: dict[str, Callable[[Sequence[Any]], Sequence[Any]]] = {
    "status": _statuses,
    "scores": _scores,
    "enqueued_at": _times,
    "started_at": _times,
    "finished_at": _times,
}
_COLUMNS: list[ColumnElement[Any]] = [
    *(_unconverted(name) for name in Record._fields[:-1]),
    func.coalesce(job_input(), case((Job.id.is_not(None), INLINE_IMAGE))).label("input"),
]
