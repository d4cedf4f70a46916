"""Runs: what a bulk submission writes down as it goes on, and what became of its jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import Engine, Table, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from labelmill.core.json import JsonValue
from labelmill.core.result import Status
from labelmill.db.database import for_writing
from labelmill.db.errors import translated
from labelmill.db.insert import insert_missing
from labelmill.db.rows import storable_block, storable_name, storable_text
from labelmill.db.tables import Job, Result, Run

_RUNS = cast("Table", Run.__table__)
_JOBS = cast("Table", Job.__table__)
_SEARCHED = 1000  # the newest runs, among which one of the same source is sought


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run as it begins."""

    id: str
    model: str
    source: str
    plan: Mapping[str, JsonValue]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class EarlierJob:
    """A job that the ledger had already."""

    run_id: str | None
    enqueued_at: datetime


class Runs:
    """The table ``runs`` as ``labelmill submit`` uses it. Every method:

    Parameters:
        engine: from :func:`labelmill.db.database.create_database_engine`.

    Raises:
        DatabaseUnavailable: if the database cannot be reached; the call can be tried again.
        SchemaOutOfDate: if the database has not been migrated to this version.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = for_writing(engine)

    def get(self, run_id: str) -> Run | None:
        """The run of that id, or None."""
        with self._reading() as session:
            return session.get(Run, storable_text(run_id))

    def newest(self, model: str, source: str) -> Run | None:
        """The newest run of a source that can be resumed, or None."""
        query = (
            select(Run)
            .where(Run.model == storable_text(model), Run.source == storable_text(source))
            .order_by(Run.created_at.desc(), Run.id.desc())
            .limit(_SEARCHED)
        )
        with self._reading() as session:
            return next((run for run in session.scalars(query) if run.plan), None)

    def add_jobs(
        self,
        run: NewRun,
        payloads: Mapping[str, Mapping[str, JsonValue]],
        enqueued_at: datetime,
    ) -> set[str]:
        """Write jobs, and their run with the first, in one transaction; return the new jobs' ids.

        So there is no run without jobs, and the number that it says is that of its jobs.

        Parameters:
            payloads: by the jobs' ids.

        Raises:
            ValueError: if an id or the model's alias is too long; nothing is written.
        """
        storable = storable_block(run.id, run.model, payloads, enqueued_at)
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        begin = insert(_RUNS).values(
            id=storable_name(run.id),
            model=storable_name(run.model),
            source=storable_text(run.source),
            submitted=0,
            plan=run.plan,
            created_at=run.created_at,
        )
        with translated(self._engine), self._writer.begin() as connection:
            added = insert_missing(connection, _JOBS, storable) if storable else set()
            if added:
                connection.execute(begin.on_conflict_do_nothing(index_elements=[_RUNS.c.id]))
                count = _RUNS.c.submitted + len(added)
                connection.execute(
                    update(_RUNS)
                    .where(_RUNS.c.id == storable_text(run.id))
                    .values(submitted=count, finished_at=None)
                )
        return added

    def finish(self, run_id: str, finished_at: datetime, rejected: int) -> None:
        """Write down that a run has sent all its jobs, and how many rows it could not send."""
        values = {"finished_at": finished_at, "rejected": rejected}
        with translated(self._engine), self._writer.begin() as connection:
            connection.execute(
                update(_RUNS).where(_RUNS.c.id == storable_text(run_id)).values(values)
            )

    def earlier(self, ids: Sequence[str]) -> dict[str, EarlierJob]:
        """To which run, and when, those of these jobs were submitted that the ledger has."""
        query = select(_JOBS.c.id, _JOBS.c.run_id, _JOBS.c.enqueued_at)
        query = query.where(_JOBS.c.id.in_([storable_text(each) for each in ids]))
        with self._reading() as session:
            return {
                row.id: EarlierJob(row.run_id, row.enqueued_at) for row in session.execute(query)
            }

    def outcomes(self, ids: Sequence[str]) -> tuple[int, int]:
        """How many of these jobs have succeeded and have failed."""
        query = select(Result.status, func.count()).group_by(Result.status)
        query = query.where(Result.id.in_([storable_text(each) for each in ids]))
        with self._reading() as session:
            counts = {row[0]: row[1] for row in session.execute(query)}
        return counts.get(Status.SUCCEEDED, 0), counts.get(Status.FAILED, 0)

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with translated(self._engine), Session(self._engine, expire_on_commit=False) as session:
            yield session
