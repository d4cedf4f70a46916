"""What a page shows: results page by page, summaries, and how fast a run goes.

Times on a million rows stand in ``docs/explanation/speed.md``; what would read all of them and
their jobs is bounded, and says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    ColumnElement,
    Engine,
    Integer,
    Row,
    Select,
    Tuple,
    cast,
    func,
    literal,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.orm import Session

from labelmill.core.result import Status
from labelmill.db.cursor import Cursor
from labelmill.db.errors import translated
from labelmill.db.filters import ResultFilter, by_columns, mentions
from labelmill.db.rows import storable_text
from labelmill.db.tables import Job, Result, Run, UTCDateTime

__all__ = ["Cursor", "Page", "Queries", "ResultFilter", "Summary", "Throughput"]

SCORE_BINS = 20
MAX_LABELS = 1000
"""Labels of a summary, and error codes."""

# In growing steps, since most often the first one suffices.
_SEARCH_STEPS = (1_000, 9_000, 40_000)
SEARCHED_RESULTS = sum(_SEARCH_STEPS)
"""How many results a page of a search, or its summary, looks through: it reads their jobs too."""

_Query = TypeVar("_Query", bound="Select[*tuple[Any, ...]]")


@dataclass(frozen=True, slots=True)
class Page:
    """Some results, the newest first.

    Attributes:
        next: where the next page begins; None after the last one. A page of a search may be short,
            or empty, and have a next one all the same: the search goes on there.
    """

    results: list[Result]
    next: Cursor | None


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts over results.

    Attributes:
        labels: the first labels with their numbers, the most frequent first.
        scores: how many first labels' scores are in each of 20 equal bins of 0 to 1; what is
            below or above counts in the first or last.
        errors: the codes of failures with their numbers, the most frequent first.
        complete: False for a search that looked through the newest ``SEARCHED_RESULTS`` only.
    """

    succeeded: int
    failed: int
    labels: list[tuple[str, int]]
    scores: list[int]
    errors: list[tuple[str, int]]
    complete: bool = True


class Bucket(NamedTuple):
    """What was finished in one of a throughput's spans of time."""

    at: datetime
    succeeded: int
    failed: int


@dataclass(frozen=True, slots=True)
class Throughput:
    """How many jobs of a run were finished in each of equal spans of time, from its first on."""

    bucket_seconds: float
    buckets: list[Bucket]


class Queries:
    """Reads for people, on SQLite and PostgreSQL. Every method:

    Parameters:
        engine: from :func:`labelmill.db.database.create_database_engine`.

    Raises:
        DatabaseUnavailable: if the database cannot be reached; the call can be tried again.
        SchemaOutOfDate: if the database has not been migrated to this version.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def page(self, wanted: ResultFilter, limit: int, after: Cursor | None = None) -> Page:
        """The newest results, or those that come after a page's end.

        Parameters:
            limit: the most results, from 1 on.
            after: ``next`` of the page before.
        """
        if wanted.text:
            return self._search(wanted, wanted.text, limit, after)
        query = _newest(select(Result), wanted, after).limit(limit + 1)
        with self._reading() as session:
            results = list(session.scalars(query))
        more = len(results) > limit
        del results[limit:]
        return Page(results, Cursor(results[-1].finished_at, results[-1].id) if more else None)

    def summary(self, wanted: ResultFilter) -> Summary:
        """Labels, scores and errors counted; reads all results that are wanted."""
        dialect = self._engine.dialect.name
        columns = (
            Result.status,
            Result.label,
            Result.error_code,
            _floor(Result.score * SCORE_BINS, dialect).label("bin"),
        )
        if wanted.text:
            found = mentions(wanted.text, dialect).label("found")
            each = _newest(_with_jobs(select(*columns, found)), wanted).limit(SEARCHED_RESULTS)
        else:
            each = select(*columns, true().label("found")).where(*by_columns(wanted))
        rows = each.subquery()
        query = select(*rows.c, func.count().label("results")).group_by(*rows.c)
        with self._reading() as session:
            return _summary(session.execute(query).all(), searched=bool(wanted.text))

    def throughput(self, run_id: str, buckets: int = 60) -> Throughput:
        """A run's speed from its first result to its last.

        Parameters:
            buckets: the most spans of time; each is at least a second.
        """
        of_run = select(Result.finished_at).where(Result.run_id == storable_text(run_id))
        first_last = select(
            of_run.order_by(Result.finished_at).limit(1).scalar_subquery(),
            of_run.order_by(Result.finished_at.desc()).limit(1).scalar_subquery(),
        )
        with self._reading() as session:
            moments = [each for each in session.execute(first_last).one() if each is not None]
            if not moments:
                return Throughput(1.0, [])
            first, last = moments
            # A microsecond more, since a span ends before its end.
            width = max(timedelta(seconds=1), (last - first) / buckets + timedelta(microseconds=1))
            starts = [first + width * number for number in range((last - first) // width + 1)]
            # A range of the index each; one query for all of them is one round trip.
            counts = [
                _outcomes(number, start, start + width, run_id)
                for number, start in enumerate(starts)
            ]
            rows = {row.number: row for row in session.execute(union_all(*counts))}
        return Throughput(
            width.total_seconds(),
            [
                Bucket(start, rows[number].succeeded, rows[number].failed)
                for number, start in enumerate(starts)
            ],
        )

    def finished_since(self, run_id: str, since: datetime) -> int:
        """How many jobs of a run were finished at a time or later."""
        query = select(func.count()).where(
            Result.run_id == storable_text(run_id), Result.finished_at >= since
        )
        with self._reading() as session:
            return session.scalar(query) or 0

    def runs(self, limit: int, after: Cursor | None = None) -> tuple[list[Run], Cursor | None]:
        """The newest runs, or those that come after a page's end; and where the next page begins.

        Parameters:
            limit: the most runs, from 1 on.
            after: as the page before gave it.
        """
        query = select(Run).order_by(Run.created_at.desc(), Run.id.desc()).limit(limit + 1)
        if after is not None:
            query = query.where(tuple_(Run.created_at, Run.id) < _place(after))
        with self._reading() as session:
            runs = list(session.scalars(query))
        more = len(runs) > limit
        del runs[limit:]
        return runs, Cursor(runs[-1].created_at, runs[-1].id) if more else None

    def _search(self, wanted: ResultFilter, text: str, limit: int, after: Cursor | None) -> Page:
        found = mentions(text, self._engine.dialect.name)
        places = _with_jobs(select(Result.finished_at, Result.id, found))
        ids: list[str] = []
        with self._reading() as session:
            for step in _SEARCH_STEPS:
                rows = session.execute(_newest(places, wanted, after).limit(step)).all()
                for at, id, is_found in rows:
                    after = Cursor(at, id)
                    if is_found:
                        ids.append(id)
                        if len(ids) == limit:
                            return Page(_of_ids(session, ids), after)
                if len(rows) < step:
                    return Page(_of_ids(session, ids), None)
            return Page(_of_ids(session, ids), after)

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with translated(self._engine), Session(self._engine, expire_on_commit=False) as session:
            yield session


def _newest(query: _Query, wanted: ResultFilter, after: Cursor | None = None) -> _Query:
    query = query.where(*by_columns(wanted))
    if after is not None:
        query = query.where(tuple_(Result.finished_at, Result.id) < _place(after))
    return query.order_by(Result.finished_at.desc(), Result.id.desc())


def _with_jobs(query: _Query) -> _Query:
    return query.outerjoin(Job, Job.id == Result.id)


def _place(cursor: Cursor) -> Tuple:
    return tuple_(literal(cursor.at, UTCDateTime()), literal(storable_text(cursor.id)))


def _of_ids(session: Session, ids: Sequence[str]) -> list[Result]:
    found = {row.id: row for row in session.scalars(select(Result).where(Result.id.in_(ids)))}
    return [found[id] for id in ids]


def _summary(rows: Sequence[Row[*tuple[Any, ...]]], *, searched: bool) -> Summary:
    statuses: Counter[Status] = Counter()
    labels: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    scores = [0] * SCORE_BINS
    for row in rows:
        if not row.found:
            continue
        statuses[row.status] += row.results
        if row.label is not None:
            labels[row.label] += row.results
        if row.error_code is not None:
            errors[row.error_code] += row.results
        if row.bin is not None:
            scores[min(max(int(row.bin), 0), SCORE_BINS - 1)] += row.results
    return Summary(
        succeeded=statuses[Status.SUCCEEDED],
        failed=statuses[Status.FAILED],
        labels=labels.most_common(MAX_LABELS),
        scores=scores,
        errors=errors.most_common(MAX_LABELS),
        complete=not searched or sum(row.results for row in rows) < SEARCHED_RESULTS,
    )


def _floor(number: ColumnElement[float | None], dialect: str) -> ColumnElement[int]:
    # SQLite may have been built without floor(), and cuts a number off; PostgreSQL rounds it.
    return cast(number if dialect == "sqlite" else func.floor(number), Integer)


def _outcomes(number: int, start: datetime, end: datetime, run_id: str) -> Select[int, int, int]:
    count = func.count()
    return select(
        literal(number).label("number"),
        count.filter(Result.status == Status.SUCCEEDED).label("succeeded"),
        count.filter(Result.status == Status.FAILED).label("failed"),
    ).where(
        Result.run_id == storable_text(run_id),
        Result.finished_at >= start,
        Result.finished_at < end,
    )
