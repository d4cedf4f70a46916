"""The store: everything that is written to and read from the results database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from labelmill.core.ledger import JobRow
from labelmill.core.result import ResultRow, Status
from labelmill.db.database import create_database_engine, for_single_statements
from labelmill.db.errors import translated
from labelmill.db.insert import insert_missing
from labelmill.db.rows import storable_jobs, storable_name, storable_results, storable_text
from labelmill.db.tables import Base, Job, Result, Run

_IDS_A_QUERY = 1000
_ROWS_A_FETCH = 1000

_Model = TypeVar("_Model", Job, Result, Run)


@dataclass(frozen=True)
class RunProgress:
    """How far a run is."""

    submitted: int
    succeeded: int
    failed: int

    @property
    def finished(self) -> int:
        """Jobs that have a result."""
        return self.succeeded + self.failed


@dataclass(frozen=True)
class ModelCounts:
    """How many results a model has."""

    succeeded: int = 0
    failed: int = 0


class Store:
    """The results database.

    One store serves all threads of a process. What it returns are plain objects, detached from
    the database; changing them changes nothing. Text that PostgreSQL cannot store (NUL, lone
    surrogates) is stored, and looked up, with U+FFFD in its place.

    Parameters:
        engine: from :func:`labelmill.db.database.create_database_engine`.

    Every method:

    Raises:
        DatabaseUnavailable: if the database cannot be reached; the call can be tried again.
        SchemaOutOfDate: if the database has not been migrated to this version.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writer = for_single_statements(engine)

    @classmethod
    def open(cls, url: str) -> Self:
        """A store on the database at ``url``; connects when it is first used.

        Raises:
            ConfigurationError: if the URL cannot be used, or its driver is not installed.
        """
        return cls(create_database_engine(url))

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # Results

    def write_results(self, rows: Sequence[ResultRow]) -> int:
        """Write a group of results in one transaction and return how many were new.

        A row whose id is there already is left as it is: the first one stays, in the table and
        within the group.

        Raises:
            ValueError: if a score is not finite, a time has no zone, or an id, a run's id, a
                model's alias or a worker's name is longer than ``MAX_ID_LENGTH``; nothing is
                written.
        """
        storable = storable_results(rows)
        if not storable:
            return 0
        with self._writing() as connection:
            return len(insert_missing(connection, _table(Result), storable))

    def result(self, job_id: str) -> Result | None:
        """The result of a job, or None while it has none."""
        return self._get(Result, job_id)

    def results_of(self, ids: Sequence[str]) -> dict[str, Result]:
        """The results of those jobs that have one, by id."""
        return self._of(Result, ids)

    def results(
        self,
        *,
        run_id: str | None = None,
        model: str | None = None,
        status: Status | None = None,
        label: str | None = None,
        limit: int = 100,
    ) -> list[Result]:
        """The newest results, the newest first."""
        query = _filtered(run_id, model, status, label)
        query = query.order_by(Result.finished_at.desc(), Result.id.desc()).limit(limit)
        with self._reading() as session:
            return list(session.scalars(query))

    def iter_results(
        self,
        *,
        run_id: str | None = None,
        model: str | None = None,
        status: Status | None = None,
        label: str | None = None,
    ) -> Iterator[Result]:
        """All results, in the order of their ids, as they were when the first one was read.

        They are fetched as they are asked for, so a table of any size fits into memory. The
        database keeps the snapshot until the iterator is exhausted or closed.
        """
        query = _filtered(run_id, model, status, label).order_by(Result.id)
        query = query.execution_options(yield_per=_ROWS_A_FETCH)
        with self._reading() as session, closing(session.scalars(query)) as results:
            for result in results:
                # Detached, like the results of every other method.
                session.expunge(result)
                yield result

    def counts(self) -> dict[str, ModelCounts]:
        """How many results each model has; reads the whole table."""
        query = select(Result.model, *_outcomes()).group_by(Result.model).order_by(Result.model)
        with self._reading() as session:
            return {
                model: ModelCounts(succeeded, failed)
                for model, succeeded, failed in session.execute(query)
            }

    # Jobs

    def add_jobs(self, rows: Sequence[JobRow]) -> set[str]:
        """Write jobs into the ledger in one transaction; return the ids that were there already.

        Those stay as they are. Of an id that stands twice among ``rows`` the first is written.

        Raises:
            ValueError: if a number is not finite, a time has no zone, or an id, a run's id or a
                model's alias is longer than ``MAX_ID_LENGTH``; nothing is written.
        """
        storable = storable_jobs(rows)
        if not storable:
            return set()
        with self._writing() as connection:
            added = insert_missing(connection, _table(Job), storable)
        return {row["id"] for row in rows if storable_text(row["id"]) not in added}

    def remove_jobs(self, ids: Sequence[str]) -> None:
        """Take jobs out of the ledger again, because they could not be sent."""
        with self._writing() as connection:
            for start in range(0, len(ids), _IDS_A_QUERY):
                some = [storable_text(each) for each in ids[start : start + _IDS_A_QUERY]]
                connection.execute(delete(Job).where(Job.id.in_(some)))

    def jobs_of(self, ids: Sequence[str]) -> dict[str, Job]:
        """The jobs of these ids that the ledger has, by id."""
        return self._of(Job, ids)

    def job(self, job_id: str) -> Job | None:
        """The job as it was submitted, or None if the ledger does not have it."""
        return self._get(Job, job_id)

    # Runs

    def add_run(self, run_id: str, *, model: str, source: str, created_at: datetime) -> bool:
        """Write down that a bulk submission begins; False if there was a run of that id.

        Raises:
            ValueError: if the id or the alias is longer than ``MAX_ID_LENGTH``.
        """
        values = {
            "id": storable_name(run_id),
            "model": storable_name(model),
            "source": storable_text(source),
            "submitted": 0,
            "created_at": created_at,
        }
        try:
            with self._writing() as connection:
                connection.execute(insert(Run), values)
        except IntegrityError:
            return False
        return True

    def count_submitted(self, run_id: str, jobs: int) -> None:
        """Add to the number of jobs that a run has sent."""
        self._update_run(run_id, {"submitted": Run.submitted + jobs})

    def finish_run(self, run_id: str, finished_at: datetime) -> None:
        """Write down that a run has sent all its jobs."""
        self._update_run(run_id, {"finished_at": finished_at})

    def run(self, run_id: str) -> Run | None:
        """The run of that id, or None."""
        return self._get(Run, run_id)

    def runs(self, limit: int = 100) -> list[Run]:
        """The runs, the newest first."""
        query = select(Run).order_by(Run.created_at.desc(), Run.id.desc()).limit(limit)
        with self._reading() as session:
            return list(session.scalars(query))

    def run_progress(self, run_id: str) -> RunProgress | None:
        """How far a run is, or None if there is no run of that id."""
        run_id = storable_text(run_id)
        succeeded, failed = (
            select(outcome).where(Result.run_id == run_id).scalar_subquery()
            for outcome in _outcomes()
        )
        query = select(Run.submitted, succeeded, failed).where(Run.id == run_id)
        with self._reading() as session:
            row = session.execute(query).one_or_none()
        return None if row is None else RunProgress(*row)

    def _update_run(self, run_id: str, values: Mapping[str, object]) -> None:
        with self._writing() as connection:
            connection.execute(update(Run).where(Run.id == storable_text(run_id)).values(values))

    def _get(self, kind: type[_Model], key: str) -> _Model | None:
        with self._reading() as session:
            return session.get(kind, storable_text(key))

    def _of(self, kind: type[_Model], ids: Sequence[str]) -> dict[str, _Model]:
        found: dict[str, _Model] = {}
        with self._reading() as session:
            for start in range(0, len(ids), _IDS_A_QUERY):
                some = [storable_text(each) for each in ids[start : start + _IDS_A_QUERY]]
                found.update(
                    (row.id, row) for row in session.scalars(select(kind).where(kind.id.in_(some)))
                )
        return {each: found[key] for each in ids if (key := storable_text(each)) in found}

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with translated(self.engine), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with translated(self.engine), self._writer.begin() as connection:
            yield connection


def _filtered(
    run_id: str | None, model: str | None, status: Status | None, label: str | None
) -> Select[Result]:
    query = select(Result)
    if run_id is not None:
        query = query.where(Result.run_id == storable_text(run_id))
    if model is not None:
        query = query.where(Result.model == storable_text(model))
    if status is not None:
        query = query.where(Result.status == status)
    if label is not None:
        query = query.where(Result.label == storable_text(label))
    return query


def _outcomes() -> tuple[ColumnElement[int], ColumnElement[int]]:
    count = func.count()
    return (
        count.filter(Result.status == Status.SUCCEEDED).label("succeeded"),
        count.filter(Result.status == Status.FAILED).label("failed"),
    )


def _table(kind: type[Base]) -> Table:
    # Declarative types it as a FromClause, since a class may be mapped to a join; ours are not.
    return cast("Table", kind.__table__)
