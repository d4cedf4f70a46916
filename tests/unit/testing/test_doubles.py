"""The doubles: a client without Redis, a worker without a process, an engine without a model."""

from __future__ import annotations

import inspect
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.result import AsyncResult
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from labelmill.client import (
    BrokerUnavailable,
    Client,
    DuplicateJob,
    ErrorCode,
    JobError,
    NewJob,
    Status,
    WaitTimeout,
)
from labelmill.core.catalog import ModelSpec
from labelmill.core.job import Job
from labelmill.core.tasks import Task
from labelmill.db.connection import create_database_engine
from labelmill.testing import InlineWorker, InMemoryClient, StubEngine
from tests.support.rows import a_message

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
ANSWERS = {
    "Where is it?": "delivery",
    "Twice!": {"billing": 0.75, "delivery": 0.2, "praise": 0.05},
    "odd": JobError(ErrorCode.INVALID_JOB, "the model reads nothing in it"),
}


@pytest.fixture
def client() -> Iterator[InMemoryClient]:
    with InMemoryClient() as client:
        yield client


@pytest.fixture
def worker(client: InMemoryClient) -> InlineWorker:
    return InlineWorker(client, {"topics": StubEngine(ANSWERS)})


def public(kind: type) -> dict[str, inspect.Signature]:
    methods = inspect.getmembers(kind, inspect.isfunction)
    return {name: inspect.signature(each) for name, each in methods if name[0] != "_"}


def test_the_double_has_the_api_of_the_client() -> None:
    assert len(public(Client)) > 9
    assert public(InMemoryClient) == public(Client)


def test_what_else_it_has_are_its_attributes(client: InMemoryClient) -> None:
    more = {name for name in vars(client) if name[0] != "_"}
    assert more == {"broker", "database", "database_url", "before_wait", "served"}


class TestClient:
    def test_a_job_waits_for_a_worker(self, client: InMemoryClient, worker: InlineWorker) -> None:
        job_id = client.submit_text("topics", "Twice!", run="r", top_k=2)
        assert client.result(job_id) is None
        assert client.broker.waiting("topics") == 1

        [row] = worker.run()

        assert row == client.result(job_id)
        assert (row.label, row.score, row.run_id) == ("billing", 0.75, "r")
        assert [each["label"] for each in row.scores or []] == ["billing", "delivery"]
        assert (row.worker, row.attempt, row.group_size) == ("inline@test", 1, 1)
        assert row.enqueued_at == client.database.jobs.get(job_id).enqueued_at  # type: ignore[union-attr]
        assert client.broker.waiting("topics") == 0
        assert worker.run() == []

    def test_who_waits_has_it_run(self, client: InMemoryClient, worker: InlineWorker) -> None:
        assert client.wait(client.submit_text("topics", "Where is it?")).label == "delivery"

    def test_what_does_not_come_is_told_at_once(
        self, client: InMemoryClient, worker: InlineWorker
    ) -> None:
        client.submit_text("others", "Where is it?", id="a")
        with pytest.raises(WaitTimeout, match=r"no InlineWorker .* 'others'.* engines for: topics"):
            client.wait("a", timeout=1e9)

    def test_what_is_not_due_waits_though_it_has_a_worker(
        self, client: InMemoryClient, worker: InlineWorker
    ) -> None:
        client.submit_text("topics", "Where is it?", id="a", eta=datetime.now(UTC) + HOUR)
        with pytest.raises(WaitTimeout, match="it may still come"):
            client.wait("a")

    def test_an_id_is_taken_once(self, client: InMemoryClient, worker: InlineWorker) -> None:
        client.submit_text("topics", "Where is it?", id="a")
        with pytest.raises(DuplicateJob):
            client.submit_text("topics", "Twice!", id="a")
        assert [(row.id, row.label) for row in worker.run()] == [("a", "delivery")]

    @pytest.mark.parametrize("given", [{"text": ""}, {"text": "a", "id": "\n"}])
    def test_what_can_never_be_done_is_refused(
        self, client: InMemoryClient, given: dict[str, str]
    ) -> None:
        with pytest.raises(JobError):
            client.submit_text("topics", **given)

    def test_a_run_has_its_progress(self, client: InMemoryClient, worker: InlineWorker) -> None:
        jobs = [NewJob(text=name, id=name) for name in ANSWERS]
        made = client.submit_many("topics", [*jobs, jobs[2], NewJob(text="")], run="r")
        assert (made.ids, made.duplicates) == ([*ANSWERS], ["odd"])
        assert [number for number, _ in made.rejected] == [4]
        worker.run()
        progress = client.progress("r")
        assert progress is not None
        assert (progress.submitted, progress.succeeded, progress.failed) == (3, 2, 1)

    def test_a_broker_that_is_away(self, client: InMemoryClient, worker: InlineWorker) -> None:
        client.broker.away = True
        with pytest.raises(BrokerUnavailable):
            client.submit_text("topics", "Where is it?", id="a")
        client.broker.away = False
        client.submit_text("topics", "Where is it?", id="a")
        assert len(worker.run()) == 1

    def test_a_broker_that_lost_its_data(
        self, client: InMemoryClient, worker: InlineWorker
    ) -> None:
        client.submit_text("topics", "Where is it?", eta=NOW + HOUR)
        worker.run()
        client.submit_text("topics", "Where is it?")
        client.broker.clear()
        assert client.broker.waiting("topics") == 0
        assert worker.run(at=NOW + 2 * HOUR) == []

    @pytest.mark.parametrize("kept", [True, False])
    def test_a_transaction_of_the_caller_s(
        self, client: InMemoryClient, worker: InlineWorker, kept: bool
    ) -> None:
        engine = create_database_engine(client.database_url)
        with Session(engine) as session:
            session.execute(text("CREATE TABLE messages (job_id TEXT)"))
            job_id = client.enqueue(session, "topics", text="Where is it?")
            session.execute(text("INSERT INTO messages VALUES (:id)"), {"id": job_id})
            assert client.broker.waiting("topics") == 0
            session.commit() if kept else session.rollback()
        assert [row.id for row in worker.run()] == ([job_id] if kept else [])
        engine.dispose()

    def test_a_connection_of_the_caller_s(
        self, client: InMemoryClient, worker: InlineWorker
    ) -> None:
        connection: Connection
        with client.database.engine.begin() as connection:
            job_id = client.enqueue(connection, "topics", text="Where is it?")
        assert worker.run() == []
        assert client.publish([job_id]) == [job_id]
        assert client.wait(job_id).label == "delivery"

    def test_a_database_of_the_caller_s(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path / 'app.db'}"
        for _ in range(2):  # the tables are there the second time
            with InMemoryClient(url) as client:
                client.submit_text("topics", "a")
                assert client.database_url == url
        assert (tmp_path / "app.db").exists()

    def test_its_own_database_goes_with_it(self, client: InMemoryClient) -> None:
        file = Path(client.database_url.removeprefix("sqlite:///"))
        assert file.exists()
        client.close()
        assert not file.parent.exists()
        with InMemoryClient() as other:
            assert other.result("a") is None

    def test_threads_share_it(self, client: InMemoryClient, worker: InlineWorker) -> None:
        def label(number: int) -> str | None:
            name = ["Where is it?", "Twice!"][number % 2]
            return client.wait(client.submit_text("topics", name, id=f"{number}")).label

        with ThreadPoolExecutor(8) as pool:
            labels = list(pool.map(label, range(100)))
        assert labels == ["delivery", "billing"] * 50
        assert client.database.results.counts()["topics"].succeeded == 100


class TestWorker:
    def test_the_model_s_entry_says_how_many_share_a_pass(self, client: InMemoryClient) -> None:
        spec = ModelSpec(task=Task.TEXT_CLASSIFICATION, checkpoint=".", group_size=3, top_k=1)
        worker = InlineWorker(
            client, {"t": StubEngine({}, default={"a": 0.5, "b": 0.5}, spec=spec)}
        )
        client.submit_many("t", [NewJob(text=f"{number}") for number in range(7)])
        rows = worker.run()
        assert [row.group_size for row in rows] == [3, 3, 3, 3, 3, 3, 1]
        assert {len(row.scores or []) for row in rows} == {1}

    def test_the_most_urgent_are_first(self, client: InMemoryClient, worker: InlineWorker) -> None:
        for name, priority in {"late": 9, "soon": 3, "now": 0, "then": 3}.items():
            client.submit_text("topics", "Where is it?", id=name, priority=priority)
        assert [row.id for row in worker.run()] == ["now", "soon", "then", "late"]

    def test_an_eta_is_waited_for(self, client: InMemoryClient, worker: InlineWorker) -> None:
        client.submit_text("topics", "Where is it?", id="b", eta=NOW + 2 * HOUR)
        client.submit_text("topics", "Where is it?", id="a", eta=NOW + HOUR)
        assert worker.run() == []
        assert client.broker.waiting("topics") == 2
        [row] = worker.run(at=NOW + HOUR)
        assert (row.id, row.started_at, row.finished_at) == ("a", NOW + HOUR, NOW + HOUR)
        assert [row.id for row in worker.run(at=NOW + 2 * HOUR)] == ["b"]

    def test_time_runs_out(self, client: InMemoryClient, worker: InlineWorker) -> None:
        client.submit_text("topics", "Where is it?", expires=HOUR)
        [row] = worker.run(at=NOW + 2 * HOUR)
        assert (row.status, row.error_code, row.group_size) == (Status.FAILED, "expired", 0)

    def test_a_job_is_revoked(self, client: InMemoryClient, worker: InlineWorker) -> None:
        worker.revoke(client.submit_text("topics", "Where is it?"))
        assert [row.error_code for row in worker.run()] == ["revoked"]

    def test_errors_become_rows(self, client: InMemoryClient) -> None:
        def answer(job: Job) -> dict[str, float]:
            if job.text == "raise":
                raise ValueError("a secret payload")
            return {"a": math.nan if job.text == "nan" else 0.5}

        worker = InlineWorker(client, {"topics": StubEngine(answer)})
        for name in ("raise", "nan", "fine"):
            client.submit_text("topics", name, id=name)
        client.submit_image("topics", b"an image", id="image")
        rows = {row.id: row for row in worker.run()}
        codes = {name: row.error_code for name, row in rows.items()}
        expected = {"raise": "model_failed", "nan": "unstorable", "image": "wrong_input_kind"}
        assert codes == {**expected, "fine": None}
        assert "secret" not in str(rows["raise"].error_message)

    def test_what_strangers_write_has_a_row(
        self, client: InMemoryClient, worker: InlineWorker
    ) -> None:
        client.broker.put("topics", b"no message")
        client.broker.put("topics", a_message("a", {"text": "Where is it?"}, "topics"))
        client.broker.put("topics", a_message("a", {"text": "Twice!"}, "topics"))
        rows = worker.run()
        assert [row.error_code for row in rows if row.id != "a"] == ["invalid_message"]
        assert [row.label for row in rows if row.id == "a"] == ["delivery"]


class TestCelery:
    def test_a_job_by_name_has_its_outcome(self, client: InMemoryClient) -> None:
        app = Celery(
            broker="memory://",
            backend=f"labelmill+{client.database_url}",
            set_as_current=False,
        )
        worker = InlineWorker(client, {"topics": StubEngine(ANSWERS)}, celery_app=app)

        def send(words: str, **options: object) -> AsyncResult:
            kwargs = {"text": words}
            return app.send_task("labelmill.classify", kwargs=kwargs, queue="topics", **options)

        sent, failed = send("Where is it?"), send("odd")
        late = send("Twice!", countdown=3600)
        assert sent.state == "PENDING"
        assert {row.id for row in worker.run()} == {sent.id, failed.id}
        assert sent.get(timeout=1)["label"] == "delivery"
        with pytest.raises(JobError, match="reads nothing"):
            failed.get(timeout=1)
        assert late.state == "PENDING"
        worker.run(at=NOW + 2 * HOUR)
        assert late.get(timeout=1)["score"] == 0.75


def test_a_worker_wants_engines(client: InMemoryClient) -> None:
    with pytest.raises(TypeError, match="an engine for 'topics'"):
        InlineWorker(client, {"topics": ANSWERS})  # type: ignore[dict-item]


class TestStub:
    @pytest.mark.parametrize("answers", [{"a": {}}, lambda _: None])
    def test_an_empty_answer_is_none(self, client: InMemoryClient, answers: Any) -> None:
        InlineWorker(client, {"topics": StubEngine(answers)})
        row = client.wait(client.submit_text("topics", "a"))
        assert "no answer to this job" in str(row.error_message)

    def test_an_image_is_known_by_its_name_or_uri(self, client: InMemoryClient) -> None:
        answers = {"scan.png": "7", "s3://bucket/b.png": "2"}
        engine = StubEngine(answers, task=Task.IMAGE_CLASSIFICATION)
        InlineWorker(client, {"digits": engine})
        by_name = client.submit_image("digits", b"\xff\xd8", image_name="scan.png")
        by_uri = client.submit_image("digits", "s3://bucket/b.png", image_name="other.png")
        unknown = client.submit_image("digits", b"\xff")
        assert [client.wait(each).label for each in (by_name, by_uri)] == ["7", "2"]
        assert "no answer" in str(client.wait(unknown).error_message)

    def test_a_default_is_for_all_others(self, client: InMemoryClient) -> None:
        InlineWorker(client, {"topics": StubEngine(ANSWERS, default="other")})
        ids = [client.submit_text("topics", each) for each in ("Where is it?", "else")]
        assert [client.wait(each).label for each in ids] == ["delivery", "other"]


def test_it_is_light(tmp_path: Path) -> None:
    """A light installation has neither Celery nor Alembic, and a web app's tests no torch."""
    others = (
        *("alembic", "celery", "fsspec", "kombu", "psycopg", "tenacity", "typer"),
        *("PIL", "hiredis", "numpy", "pytest", "torch", "transformers"),
    )
    code = f"""
import json, sys
for name in {others}:
    sys.modules[name] = None
from labelmill.testing import InlineWorker, InMemoryClient, StubEngine, check_engine
with InMemoryClient() as client:
    worker = InlineWorker(client, {{"topics": StubEngine({{"a": "delivery"}})}})
    print(client.wait(client.submit_text("topics", "a")).label)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("delivery\n", "")
    assert json.dumps([each.name for each in tmp_path.iterdir()]) == "[]"
