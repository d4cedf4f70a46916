"""Rows as the database has them, made, written and read."""

from __future__ import annotations

from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import select

from labelmill.broker import message
from labelmill.core.job import SubmittedJob, parse_job
from labelmill.core.result import Result
from labelmill.core.states import Status
from labelmill.db.database import Database
from labelmill.db.filters import ResultFilter
from labelmill.db.tables import jobs

NOON = datetime(2026, 5, 17, 12, 0, 0, 123456, tzinfo=UTC)


def a_result(job_id: str, **changes: Any) -> Result:
    """A result; it failed where an error code is given."""
    label = changes.get("label", None if "error_code" in changes else "good")
    score = changes.get("score", None if label is None else 0.5)
    usual: dict[str, Any] = {
        "id": job_id,
        "run_id": None,
        "model": "topics",
        "checkpoint": "org/topics",
        "revision": "abc123",
        "status": Status.FAILED if changes.get("error_code") else Status.SUCCEEDED,
        "label": label,
        "score": score,
        "scores": None if label is None else [{"label": label, "score": score}],
        "error_code": None,
        "error_message": "what happened" if changes.get("error_code") else None,
        "attempt": 1,
        "group_size": 4,
        "worker": "w1@host",
        "enqueued_at": None,
        "started_at": NOON,
        "finished_at": NOON,
    }
    return Result(**usual | changes)


def a_job(job_id: str, **changes: Any) -> SubmittedJob:
    """A job of the ledger."""
    usual: dict[str, Any] = {
        "model": "topics",
        "payload": {"text": "The parcel never came."},
        "enqueued_at": NOON,
    }
    return SubmittedJob(id=job_id, **usual | changes)


def a_message(job_id: str, kwargs: dict[str, Any], queue: str, **options: Any) -> bytes:
    """The entry of a queue's list for a job, enqueued now."""
    job = parse_job(kwargs)
    enqueued_at = options.pop("enqueued_at", None) or datetime.now(UTC)
    return message.encode(
        SubmittedJob.of(job, id=job_id, model=queue, enqueued_at=enqueued_at, **options)
    )


def all_results(database: Database, **wanted: Any) -> list[Result]:
    """All results that are wanted, in the order of their ids."""
    found = database.results.oldest_first(ResultFilter(**wanted))
    return sorted((record.result for record in found), key=attrgetter("id"))


def newest_results(database: Database, limit: int = 100, **wanted: Any) -> list[Result]:
    """The newest results that are wanted, the newest first."""
    return database.results.page(ResultFilter(**wanted), limit).results


def due_at(database: Database, job_id: str) -> datetime:
    """From when on the ledger misses a job."""
    query = select(jobs.c.due_at).where(jobs.c.id == job_id)
    with database.engine.connect() as connection:
        found: datetime = connection.scalars(query).one()
    return found
