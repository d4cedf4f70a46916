"""The results: written in groups, once; read one by one, page by page, or all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Select, Tuple, func, literal, select, tuple_

from labelmill.core.result import Result
from labelmill.core.states import Status
from labelmill.core.text import storable_text
from labelmill.db.cursor import PageCursor
from labelmill.db.errors import blames_rows, once_more, translated
from labelmill.db.filters import ResultFilter, by_columns, mentions
from labelmill.db.insert import insert_missing
from labelmill.db.records import ROWS_A_FETCH, Record, read_records, select_records
from labelmill.db.repository import Repository, blocks_of, select_record
from labelmill.db.rows import storable_results
from labelmill.db.summary import ResultSummary, counted_columns, summary_of
from labelmill.db.tables import UTCDateTime, jobs, results

# In growing steps, since most often the first one suffices.
_SEARCH_STEPS = (1_000, 9_000, 40_000)
SEARCHED_RESULTS = sum(_SEARCH_STEPS)
"""How many results a page of a search, or its summary, looks through: it reads their jobs too."""

_Query = TypeVar("_Query", bound="Select[*tuple[Any, ...]]")


class ResultCounts(NamedTuple):
    """How many results there are, by status."""

    succeeded: int = 0
    failed: int = 0


class ResultOutline(NamedTuple):
    """The columns of a result that are counted."""

    id: str
    label: str | None
    score: float | None
    error_code: str | None
    checkpoint: str | None
    revision: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some results, the newest first.

    Attributes:
        next: where the next page begins; None after the last one. A page of a search may be short,
            or empty, and have a next one all the same: the search goes on there.
    """

    results: list[Result]
    next: PageCursor | None


_RESULTS = select_record(results, Result)


class Results(Repository):
    """The table ``results``; see :class:`Repository` for what every method raises.

    Text that PostgreSQL cannot store (NUL, lone surrogates) is stored, and looked up, with U+FFFD
    in its place. Times on a million rows stand in ``docs/explanation/speed.md``; what would read
    all of them and their jobs is bounded, and says so.
    """

    def write(self, group: Sequence[Result]) -> int:
        """Write a group of results in one transaction and return how many were new.

        A row whose id is there already is left as it is: the first one stays, in the table and
        within the group.

        Raises:
            ValueError: if a score is not finite, a time has no zone, or an id, a run's id, a
                model's alias or a worker's name is longer than ``MAX_ID_LENGTH``; nothing is
                written.
            RowsNotKept: if the database took rows and dropped some of them; the others are written.
        """
        rows = storable_results(group)
        inserted = self._insert(results, rows, mark="finished_at")
        if len(inserted) < len(rows):
            self._require_kept(results, rows, inserted)
        return len(inserted)

    def takes(self, row: Result) -> bool:
        """Whether the table takes such a row at this moment; it is not kept."""
        [stored] = storable_results([row])
        try:
            with translated(self._engine), self._writer.connect() as connection:
                taken = bool(insert_missing(connection, results, [stored]))
                if self._engine.dialect.name == "postgresql":
                    connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
                connection.rollback()
        except Exception as error:
            if not blames_rows(error):
                raise
            return False
        return taken

    def get(self, job_id: str) -> Result | None:
        """The result of a job, or None while it has none."""
        return self._get(results, _RESULTS, Result, job_id)

    def get_many(self, ids: Sequence[str]) -> dict[str, Result]:
        """The results of those jobs that have one, by id."""
        return self._get_many(results, _RESULTS, Result, ids)

    @once_more
    def counts(self) -> dict[str, ResultCounts]:
        """How many results each model has; reads the whole table."""
        by_model = (
            select(results.c.model, *outcomes()).group_by(results.c.model).order_by(results.c.model)
        )
        with self._reading_at_length() as connection:
            return {row[0]: ResultCounts(*row[1:]) for row in connection.execute(by_model)}

    @once_more
    def counts_of(self, ids: Sequence[str]) -> ResultCounts:
        """How many of these jobs have succeeded and have failed."""
        succeeded = failed = 0
        with self._reading() as connection:
            for some in blocks_of(ids):
                found = select(*outcomes()).where(results.c.id.in_(some))
                counts = ResultCounts(*connection.execute(found).one())
                succeeded, failed = succeeded + counts.succeeded, failed + counts.failed
        return ResultCounts(succeeded, failed)

    @once_more
    def page(self, wanted: ResultFilter, limit: int, after: PageCursor | None = None) -> Page:
        """The newest results, or those that come after a page's end.

        Parameters:
            limit: the most results, from 1 on.
            after: ``next`` of the page before.
        """
        if wanted.text:
            return self._search(wanted, wanted.text, limit, after)
        query = _newest(_RESULTS, wanted, after).limit(limit + 1)
        with self._reading_at_length() as connection:
            found = [Result(*row) for row in connection.execute(query)]
        more = len(found) > limit
        del found[limit:]
        return Page(found, PageCursor(found[-1].finished_at, found[-1].id) if more else None)

    @once_more
    def summary(self, wanted: ResultFilter) -> ResultSummary:
        """Labels, scores and errors counted; reads all results that are wanted."""
        counted = counted_columns(self._engine.dialect.name)
        with self._reading_at_length() as connection:
            if not wanted.text:
                return summary_of(connection, counted.where(*by_columns(wanted)))
            found = mentions(wanted.text, connection.dialect.name).label("found")
            looked_at = _newest(_with_jobs(counted.add_columns(found)), wanted)
            return summary_of(connection, looked_at.limit(SEARCHED_RESULTS), SEARCHED_RESULTS)

    def oldest_first(self, wanted: ResultFilter) -> Iterator[Record]:
        """All results that are wanted, as they were when the first one was read.

        They are fetched as they are asked for, so any number fits into memory.
        """
        yield from self._records(self._wanted(wanted).order_by(results.c.finished_at, results.c.id))

    def newest_first(self, wanted: ResultFilter, limit: int) -> Iterator[Record]:
        """The newest results that are wanted."""
        order = (results.c.finished_at.desc(), results.c.id.desc())
        yield from self._records(self._wanted(wanted).order_by(*order).limit(limit))

    def records(self, ids: Sequence[str], wanted: ResultFilter) -> dict[str, Record]:
        """The results of those jobs that have one that is wanted, by id."""
        found: dict[str, Record] = {}
        for some in blocks_of(ids):
            rows = self._records(self._wanted(wanted).where(results.c.id.in_(some)))
            found.update((record.result.id, record) for record in rows)
        return {each: found[key] for each in ids if (key := storable_text(each)) in found}

    def outlines(self, wanted: ResultFilter) -> Iterator[ResultOutline]:
        """All results that are wanted, in no order, to be counted."""
        query = self._filtered(select_record(results, ResultOutline), wanted)
        with self._reading_at_length() as connection:
            rows = connection.execution_options(yield_per=ROWS_A_FETCH).execute(query)
            yield from map(ResultOutline._make, rows)

    def _records(self, query: Select[*tuple[Any, ...]]) -> Iterator[Record]:
        with self._reading_at_length() as connection:
            yield from read_records(connection, query)

    def _wanted(self, wanted: ResultFilter) -> Select[*tuple[Any, ...]]:
        return self._filtered(select_records(), wanted, joined=True)

    def _filtered(self, query: _Query, wanted: ResultFilter, *, joined: bool = False) -> _Query:
        query = query.where(*by_columns(wanted))
        if wanted.text:
            query = query if joined else _with_jobs(query)
            query = query.where(mentions(wanted.text, self._engine.dialect.name))
        return query

    def _search(
        self, wanted: ResultFilter, text: str, limit: int, after: PageCursor | None
    ) -> Page:
        found = mentions(text, self._engine.dialect.name)
        places = _with_jobs(select(results.c.finished_at, results.c.id, found))
        ids: list[str] = []
        with self._reading_at_length() as connection:
            for step in _SEARCH_STEPS:
                rows = connection.execute(_newest(places, wanted, after).limit(step)).all()
                for at, id, is_found in rows:
                    after = PageCursor(at, id)
                    if is_found:
                        ids.append(id)
                        if len(ids) == limit:
                            return Page(_of_ids(connection, ids), after)
                if len(rows) < step:
                    return Page(_of_ids(connection, ids), None)
            return Page(_of_ids(connection, ids), after)


def outcomes() -> Iterator[Any]:
    """Two columns, ``succeeded`` and ``failed``: how many results have each status."""
    for status in (Status.SUCCEEDED, Status.FAILED):
        yield func.count().filter(results.c.status == status).label(status.value)


def place(cursor: PageCursor) -> Tuple:
    """The end of a page, to be compared with a pair of columns."""
    return tuple_(literal(cursor.at, UTCDateTime()), literal(storable_text(cursor.id)))


def _newest(query: _Query, wanted: ResultFilter, after: PageCursor | None = None) -> _Query:
    query = query.where(*by_columns(wanted))
    if after is not None:
        query = query.where(tuple_(results.c.finished_at, results.c.id) < place(after))
    return query.order_by(results.c.finished_at.desc(), results.c.id.desc())


def _with_jobs(query: _Query) -> _Query:
    return query.outerjoin(jobs, jobs.c.id == results.c.id)


def _of_ids(connection: Connection, ids: Sequence[str]) -> list[Result]:
    rows = connection.execute(_RESULTS.where(results.c.id.in_(ids)))
    found = {row.id: Result(*row) for row in rows}
    return [found[id] for id in ids]
