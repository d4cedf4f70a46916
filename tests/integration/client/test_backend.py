"""The result backend, from Celery apps that know nothing of us."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import celery
import pytest
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.result import AsyncResult, GroupResult, ResultSet

from labelmill.core.errors import ConfigurationError, DatabaseUnavailable, ErrorCode, JobError
from labelmill.core.result import Result
from labelmill.db.database import Database
from tests.support.rows import NOON, a_result
from tests.support.worker import Workers


def app_of(database_url: str, broker_url: str = "memory://") -> celery.Celery:
    """An app as its owner would write it; by the class, where no entry point is installed."""
    backend = f"labelmill.client.backend:ResultBackend+{database_url}"
    return celery.Celery("shop", broker=broker_url, backend=backend, set_as_current=False)


@pytest.fixture
def app(database: Database) -> Iterator[celery.Celery]:
    with app_of(database.engine.url.render_as_string(hide_password=False)) as app:
        yield app


def row(job_id: str, error_code: str | None = None) -> Result:
    usual = {"run_id": "r1", "checkpoint": "c", "revision": "v"}
    if error_code is not None:
        return a_result(job_id, **usual, error_code=error_code)
    return a_result(job_id, **usual, label="billing")


def test_a_job_that_succeeded(app: celery.Celery, database: Database) -> None:
    database.results.write([row("a")])
    result = AsyncResult("a", app=app)
    assert (result.state, result.ready(), result.successful()) == ("SUCCESS", True, True)
    assert result.get(timeout=0) == {
        "id": "a",
        "run": "r1",
        "model": "topics",
        "checkpoint": "c",
        "revision": "v",
        "label": "billing",
        "score": 0.5,
        "scores": [{"label": "billing", "score": 0.5}],
    }
    assert result.info == result.result == result.get()
    assert result.date_done == NOON
    assert (result.failed(), result.traceback) == (False, None)


def test_a_job_that_failed(app: celery.Celery, database: Database) -> None:
    database.results.write([row("a", "image_unreadable")])
    result = AsyncResult("a", app=app)
    assert (result.state, result.ready(), result.failed()) == ("FAILURE", True, True)
    with pytest.raises(JobError, match="what happened") as raised:
        result.get(timeout=0)
    assert raised.value.code is ErrorCode.IMAGE_UNREADABLE
    kept = result.get(timeout=0, propagate=False)
    assert isinstance(kept, JobError)
    assert isinstance(result.info, JobError)


def test_a_job_that_was_revoked(app: celery.Celery, database: Database) -> None:
    database.results.write([row("a", "revoked")])
    result = AsyncResult("a", app=app)
    assert result.state == "REVOKED"
    with pytest.raises(JobError):
        result.get(timeout=0)


def test_a_job_without_a_row(app: celery.Celery) -> None:
    result = AsyncResult("a", app=app)
    assert (result.state, result.ready(), result.info) == ("PENDING", False, None)
    with pytest.raises(CeleryTimeoutError):
        result.get(timeout=0.05)


def test_a_row_that_comes_while_it_is_waited_for(app: celery.Celery, database: Database) -> None:
    waiting = threading.Event()
    writer = threading.Thread(target=lambda: waiting.wait() and database.results.write([row("a")]))
    writer.start()
    got = AsyncResult("a", app=app).get(timeout=30, on_interval=waiting.set)
    writer.join()
    assert got["label"] == "billing"


def test_many_are_read_together_and_in_their_order(app: celery.Celery, database: Database) -> None:
    ids = [f"job{number}" for number in range(1500)]
    database.results.write([row(each) for each in ids])
    results = [AsyncResult(each, app=app) for each in ids]
    assert [got["id"] for got in ResultSet(results, app=app).get(timeout=30)] == ids
    group = GroupResult("g", results, app=app)
    assert group.successful()
    assert group.completed_count() == 1500
    assert [got["id"] for got in group.get(timeout=30)] == ids


def test_of_many_a_failed_one_is_raised_and_a_missing_one_waited_for(
    app: celery.Celery, database: Database
) -> None:
    database.results.write([row("a"), row("b", "expired")])
    results = ResultSet([AsyncResult(each, app=app) for each in "ab"], app=app)
    with pytest.raises(JobError):
        results.get(timeout=30)
    assert isinstance(results.get(timeout=30, propagate=False)[1], JobError)
    results.add(AsyncResult("c", app=app))
    with pytest.raises(CeleryTimeoutError):
        results.get(timeout=0.05, propagate=False)


def test_a_row_is_not_forgotten(app: celery.Celery, database: Database) -> None:
    database.results.write([row("a")])
    AsyncResult("a", app=app).forget()
    assert AsyncResult("a", app=app).state == "SUCCESS"
    assert database.results.get("a") is not None


def test_the_apps_own_outcomes_are_refused(app: celery.Celery) -> None:
    with pytest.raises(ConfigurationError, match="a backend of its own"):
        app.backend.store_result("mine", 1, "SUCCESS")
    with pytest.raises(ConfigurationError):
        GroupResult("g", [], app=app).save()


def test_an_app_with_a_backend_of_its_own_reads_ours_by_a_second_app(database: Database) -> None:
    database.results.write([row("a")])
    url = database.engine.url.render_as_string(hide_password=False)
    own = celery.Celery("shop", broker="memory://", backend="cache+memory://")
    with own, app_of(url) as labels:
        own.backend.store_result("mine", {"own": 1}, "SUCCESS")
        assert AsyncResult("mine", app=own).get(timeout=0) == {"own": 1}
        assert AsyncResult("a", app=labels).get(timeout=0)["label"] == "billing"
    own.set_default()


def test_a_url_that_cannot_be_used_is_said_and_a_password_is_not() -> None:
    with pytest.raises(ConfigurationError):
        app_of("mysql://localhost/x").backend  # noqa: B018
    app = app_of("postgresql://me:hidden@127.0.0.1:1/x")
    assert "hidden" not in app.backend.as_uri()
    with pytest.raises(DatabaseUnavailable):
        AsyncResult("a", app=app).get(timeout=1)


def test_a_job_sent_by_name_to_a_real_worker(workers: Workers) -> None:
    workers.start()
    with app_of(workers.database_url, workers.broker_url) as app:
        sent = app.send_task("labelmill.classify", kwargs={"text": "hello"}, queue="scripted")
        assert sent.get(timeout=30)["label"] == "hello"
        wrong = app.send_task("labelmill.classify", kwargs={"txt": "?"}, queue="scripted")
        with pytest.raises(JobError, match="txt"):
            wrong.get(timeout=30)


def test_so_many_looks_and_no_more(app: celery.Celery) -> None:
    looks: list[None] = []
    look = partial(app.backend.get_many, ["a"], on_interval=lambda: looks.append(None))
    for most in (0, 1, 3):
        looks.clear()
        assert list(look(max_iterations=most)) == []
        assert len(looks) == most
    with pytest.raises(celery.exceptions.TimeoutError):
        list(look(max_iterations=1, timeout=0))
