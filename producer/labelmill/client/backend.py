"""A Celery result backend over the table of results: ``AsyncResult`` for Labelmill's jobs.

::

    labels = Celery(broker="redis://…", backend="labelmill+sqlite:///labelmill.db")
    sent = labels.send_task("labelmill.classify", kwargs={"text": "…"}, queue="topics")
    sent.get(timeout=30)["label"]

It only reads: the workers write the rows, and a row never changes.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from celery import states
from celery.backends.base import BaseBackend
from celery.exceptions import TimeoutError as CeleryTimeoutError
from sqlalchemy.engine import make_url

from labelmill.core.backoff import polls
from labelmill.core.errors import ConfigurationError, ErrorCode, JobError
from labelmill.core.result import Result
from labelmill.core.settings import DatabaseSettings
from labelmill.core.states import Status
from labelmill.db.database import Database

_LONGEST_PAUSE_SECONDS = 0.25

# Celery makes a backend for each thread; they share a database in each process.
_databases: dict[tuple[int, str], Database] = {}
_databases_lock = threading.Lock()


@atexit.register
def _close_databases() -> None:
    for (process, _), database in _databases.items():
        if process == os.getpid():
            database.close()


class ResultBackend(BaseBackend):  # type: ignore[misc]  # Celery has no types
    """Reads the outcomes of jobs; for any Celery app, on the SQLAlchemy URL after ``labelmill+``.

    ``get()`` returns a dict with ``label``, ``score``, ``scores``, ``id``, ``run``, ``model``,
    ``checkpoint`` and ``revision``, or raises the failed job's
    :class:`~labelmill.core.errors.JobError`. A job without a row is PENDING, as is an id that
    nobody has sent; one that was revoked is REVOKED. ``forget()`` does nothing.

    Parameters:
        url: the database; by default ``LABELMILL_DATABASE_URL``.

    Raises:
        ConfigurationError: the URL cannot be used.
        DatabaseUnavailable: whenever it is asked while the database is away.
    """

    supports_native_join = True

    def __init__(self, app: Any, url: str | None = None, **options: Any) -> None:
        super().__init__(app, url=url, **options)
        given = (url or "").removeprefix("labelmill://")
        self._database_url = given or DatabaseSettings().database_url
        self._database  # noqa: B018 - what cannot be used is said now

    def as_uri(self, include_password: bool = False) -> str:
        """The URL, for Celery to show."""
        shown = make_url(self._database_url).render_as_string(hide_password=not include_password)
        return f"labelmill+{shown}"

    def get_many(
        self,
        task_ids: Iterable[str],
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], None] | None = None,
        on_interval: Callable[[], None] | None = None,
        max_iterations: int | None = None,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The outcomes of many jobs as they come, a query for all that are missing at a time.

        Parameters:
            timeout: in seconds, for all of them.
            interval: the longest time between two looks, in seconds.

        Raises:
            celery.exceptions.TimeoutError: some have no row in time; those that have are given.
        """
        missing = list(dict.fromkeys(map(str, task_ids)))
        looks = polls(timeout, min(interval or _LONGEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS))
        for number, _ in enumerate(looks):
            if number == max_iterations:
                return
            found = self._database.results.get_many(missing)
            missing = [each for each in missing if each not in found]
            for job_id, row in found.items():
                meta = _meta(row)
                if on_message is not None:
                    on_message(meta)
                yield job_id, meta
            if not missing:
                return
            if on_interval is not None:
                on_interval()
        raise CeleryTimeoutError("no result within the time given; the job goes on")

    def wait_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_interval: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """The outcome of one job, once it has its row; as :meth:`get_many`."""
        [(_, meta)] = self.get_many([task_id], timeout, interval, on_interval=on_interval)
        return meta

    def store_result(self, task_id: str, *_: Any, **__: Any) -> None:
        """Refuse an outcome that is not a job's.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError(
            "this result backend only reads Labelmill's rows; give the app whose tasks have results"
            " a backend of its own, and read ours with AsyncResult(id, app=...) of a second app"
        )

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        row = self._database.results.get(task_id)
        if row is None:
            return {"task_id": task_id, "status": states.PENDING, "result": None}
        return _meta(row)

    def _forget(self, task_id: str) -> None:
        """Rows never change; nothing is forgotten."""

    def _save_group(self, group_id: str, result: Any) -> None:
        self.store_result(group_id)

    @property
    def _database(self) -> Database:
        # By process: connections must not be shared with a child.
        key = (os.getpid(), self._database_url)
        with _databases_lock:
            if key not in _databases:
                _databases[key] = Database.open(self._database_url)
            return _databases[key]


def _meta(row: Result) -> dict[str, Any]:
    """A row as Celery knows outcomes."""
    result: dict[str, Any] | JobError
    if row.status is Status.SUCCEEDED:
        state = states.SUCCESS
        result = {
            "id": row.id,
            "run": row.run_id,
            "model": row.model,
            "checkpoint": row.checkpoint,
            "revision": row.revision,
            "label": row.label,
            "score": row.score,
            "scores": row.scores,
        }
    else:
        state = states.REVOKED if row.error_code == ErrorCode.REVOKED else states.FAILURE
        result = JobError(_code(row), row.error_message or "")
    return {
        "task_id": row.id,
        "status": state,
        "result": result,
        "traceback": None,
        "children": [],
        "date_done": row.finished_at,
    }


def _code(row: Result) -> ErrorCode:
    try:
        return ErrorCode(row.error_code or "")
    except ValueError:  # of a later version
        return ErrorCode.MODEL_FAILED
