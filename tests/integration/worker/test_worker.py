"""Real workers on a real Redis and real databases, with a scripted engine."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import celery
import pytest
import redis

from labelmill.broker.inspect import QueueInspector
from labelmill.broker.queues import QueueKeys
from labelmill.client import Client, NewJob
from labelmill.core.result import Result
from tests.support.rows import newest_results
from tests.support.waiting import wait_for
from tests.support.worker import SCRIPTED_MODELS, Workers

TWO_MODELS = """
[models.first]
task = "text-classification"
checkpoint = "."
engine = "tests.support.engines:ScriptedEngine"

[models.second]
task = "text-classification"
checkpoint = "."
engine = "tests.support.engines:ScriptedEngine"
group_size = 4
"""


def hold(client: Client, path: Path, model: str = "scripted") -> str:
    """Submit a job that keeps the device until the path exists; wait until it has it."""
    job_id = client.submit_text(model, f"hold {path}")
    wait_for(Path(f"{path}.started").exists)
    return job_id


def stranger(workers: Workers) -> celery.Celery:
    """A Celery app that imports nothing of ours."""
    return celery.Celery("shop", broker=workers.broker_url)


def test_one_job_has_one_row(workers_on_each: Workers) -> None:
    workers_on_each.start()
    with workers_on_each.client() as client:
        result = client.wait(client.submit_text("scripted", "hello", run="r1"))
    assert (result.model, result.status, result.label, result.score) == (
        "scripted",
        "succeeded",
        "hello",
        1.0,
    )
    assert result.scores == [{"label": "hello", "score": 1.0}]
    assert (result.run_id, result.attempt, result.group_size) == ("r1", 1, 1)
    assert result.worker == "w1@test"
    assert result.enqueued_at <= result.started_at <= result.finished_at


def test_a_bare_send_task_and_the_client_give_equal_rows(workers: Workers) -> None:
    workers.start()
    with workers.client() as client:
        stranger(workers).send_task(
            "labelmill.classify", kwargs={"text": "same"}, queue="scripted", task_id="bare"
        )
        client.submit_text("scripted", "same", id="client")
        client.submit_many("scripted", [NewJob(text="same", id="bulk")])
        rows = [client.wait(job_id) for job_id in ("bare", "client", "bulk")]
    outcomes = {(row.model, row.status, row.label, row.score, str(row.scores)) for row in rows}
    assert len(outcomes) == 1


def test_a_busy_device_finds_full_groups(workers: Workers, tmp_path: Path) -> None:
    workers.start()
    with workers.client() as client:
        hold(client, tmp_path / "go")
        many = client.submit_many("scripted", [NewJob(text=f"t{i}") for i in range(300)])
        (tmp_path / "go").touch()
        rows = [client.wait(job_id) for job_id in many.ids]
    assert {row.label for row in rows} == {f"t{i}" for i in range(300)}
    assert max(row.group_size for row in rows) == 128


def test_a_group_larger_than_one_call_of_leases_is_one_pass(
    workers: Workers, tmp_path: Path
) -> None:
    workers.configure(SCRIPTED_MODELS + "group_size = 4096\n", lease_seconds="0.5")
    workers.start()
    with workers.client() as client:
        hold(client, tmp_path / "go")
        many = client.submit_many("scripted", [NewJob(text=f"t{i}") for i in range(3000)])
        with workers.broker() as broker:
            wait_for(
                lambda: QueueInspector(broker).depths(["scripted"])["scripted"]["leased"] > 3000
            )
        (tmp_path / "go").touch()
        rows = [client.wait(job_id) for job_id in many.ids]
    assert {row.label for row in rows} == {f"t{i}" for i in range(3000)}
    assert {row.attempt for row in rows} == {1}
    assert max(row.group_size for row in rows) > 1024


def test_identical_jobs_of_a_group_are_computed_once(workers: Workers, tmp_path: Path) -> None:
    workers.start()
    with workers.client() as client:
        hold(client, tmp_path / "go")
        texts = ["company", "one", "company", "two", "company"]
        many = client.submit_many("scripted", [NewJob(text=text) for text in texts])
        (tmp_path / "go").touch()
        rows = [client.wait(job_id) for job_id in many.ids]
    assert [row.label for row in rows] == ["3", "one", "3", "two", "3"]
    assert {row.group_size for row in rows} == {5}


def test_two_workers_share_a_queue(workers: Workers) -> None:
    workers.start()
    workers.start()
    with workers.client() as client:
        submitted = client.submit_many("scripted", [NewJob(text=f"t{i}") for i in range(3000)])
        rows = [client.wait(job_id) for job_id in submitted.ids]
    shares = Counter(row.worker for row in rows)
    assert set(shares) == {"w1@test", "w2@test"}
    assert min(shares.values()) > 100


def test_one_worker_serves_several_models(workers: Workers, tmp_path: Path) -> None:
    workers.configure(TWO_MODELS)
    workers.start()
    with workers.client() as client:
        hold(client, tmp_path / "go", "first")
        ids = [client.submit_text(model, "x") for model in ("first", "second") * 10]
        (tmp_path / "go").touch()
        rows = [client.wait(job_id) for job_id in ids]
    assert Counter(row.model for row in rows) == {"first": 10, "second": 10}
    assert max(row.group_size for row in rows if row.model == "second") <= 4


def test_models_are_chosen_by_setting(workers: Workers) -> None:
    workers.configure(TWO_MODELS, models="second")
    workers.start()
    with workers.client() as client:
        other = client.submit_text("first", "x")
        client.wait(client.submit_text("second", "x"))
        assert client.result(other) is None


def test_plain_celery_serves_the_queue_it_is_given(workers: Workers) -> None:
    workers.configure(TWO_MODELS)
    workers.start(
        sys.executable, "-m", "celery", "-A", "labelmill.worker",
        "worker", "-n", "%n", "-Q", "second", "-l", "info",
    )  # fmt: skip
    with workers.client() as client:
        other = client.submit_text("first", "x")
        client.wait(client.submit_text("second", "x"))
        assert client.result(other) is None


def test_an_unknown_queue_is_refused(workers: Workers) -> None:
    worker = workers.start(
        sys.executable,
        "-m",
        "celery",
        "-A",
        "labelmill.worker",
        "worker",
        "-Q",
        "nobody",
        wait=False,
    )
    assert worker.process.wait() != 0
    assert "-Q nobody: no such model" in worker.text()


def test_urgent_jobs_go_first(workers: Workers, tmp_path: Path) -> None:
    workers.configure(TWO_MODELS)
    workers.start()
    with workers.client() as client:
        hold(client, tmp_path / "go", "second")
        # One group of four is prepared already; what is urgent goes before the rest.
        late = [client.submit_text("second", f"late{i}", priority=9) for i in range(12)]
        wait_for(lambda: client._database is not None and depth(workers, "second")["leased"] == 5)
        urgent = client.submit_text("second", "urgent", priority=0)
        (tmp_path / "go").touch()
        rows = [client.wait(job_id) for job_id in [*late, urgent]]
    finished = sorted(rows, key=lambda row: row.started_at)
    assert "urgent" in [row.label for row in finished[4:8]]


def depth(workers: Workers, queue: str) -> dict[str, int]:
    with redis.Redis.from_url(workers.broker_url) as broker:
        return dict(QueueInspector(broker).depths([queue])[queue])


def test_an_eta_is_kept(workers: Workers) -> None:
    workers.start()
    with workers.client() as client:
        eta = datetime.now(UTC) + timedelta(seconds=1.5)
        later = client.submit_text("scripted", "later", eta=eta)
        wait_for(lambda: depth(workers, "scripted")["delayed"] == 1)
        client.wait(client.submit_text("scripted", "sooner"))
        assert client.result(later) is None
        result = client.wait(later)
    assert result.attempt == 1
    assert result.started_at >= eta


def test_an_expired_job_fails_with_its_reason(workers: Workers) -> None:
    with workers.client() as client:
        job_id = client.submit_text("scripted", "x", expires=timedelta(seconds=-1))
        workers.start()
        result = client.wait(job_id)
    assert (result.status, result.error_code, result.group_size) == ("failed", "expired", 0)


def test_a_revoked_job_fails_with_its_reason(workers: Workers, tmp_path: Path) -> None:
    workers.configure(TWO_MODELS)
    workers.start()
    with workers.client() as client:
        hold(client, tmp_path / "go", "second")
        filler = [client.submit_text("second", "x") for _ in range(4)]
        wait_for(lambda: depth(workers, "second")["leased"] == 5)
        job_id = client.submit_text("second", "x")
        app = stranger(workers)
        app.control.revoke(job_id)
        inspected = wait_for(lambda: app.control.inspect(timeout=0.5).revoked())
        assert job_id in str(inspected)
        (tmp_path / "go").touch()
        assert client.wait(job_id).error_code == "revoked"
        assert {client.wait(each).status for each in filler} == {"succeeded"}
    assert "result backend" not in workers.started[0].text()


@pytest.mark.parametrize("instruction", ["raise", "raise-in-prepare", "raise-in-wait"])
def test_a_bad_job_fails_alone(workers: Workers, instruction: str) -> None:
    with workers.client() as client:
        jobs = [NewJob(text=instruction if i == 50 else f"t{i}") for i in range(100)]
        ids = client.submit_many("scripted", jobs).ids
        worker = workers.start()
        rows = [client.wait(job_id) for job_id in ids]
    failed = [row for row in rows if row.status == "failed"]
    assert [(row.id, row.error_code) for row in failed] == [(ids[50], "model_failed")]
    assert all(row.label == f"t{i}" for i, row in enumerate(rows) if i != 50)
    assert "secret payload" not in worker.text()
    assert "secret payload" not in str(failed[0].error_message)


def test_whatever_lies_in_the_queue_gets_a_row(workers: Workers) -> None:
    workers.start()
    app = stranger(workers)
    bad = {
        "wrong-task": ("labelmill.other", {"text": "x"}, "unknown_task"),
        "no-input": ("labelmill.classify", {}, "invalid_job"),
        "both-inputs": ("labelmill.classify", {"text": "x", "image": {"uri": "y"}}, "invalid_job"),
        "extra": ("labelmill.classify", {"text": "x", "colour": "red"}, "invalid_job"),
        "wrong-type": ("labelmill.classify", {"text": 7}, "invalid_job"),
        "future": ("labelmill.classify", {"text": "x", "version": 2}, "unsupported_version"),
        "huge": ("labelmill.classify", {"text": "x" * 300_000}, "text_too_large"),
        "image": ("labelmill.classify", {"image": {"uri": "a.png"}}, "wrong_input_kind"),
    }
    for job_id, (task, kwargs, _) in bad.items():
        app.send_task(task, kwargs=kwargs, queue="scripted", task_id=job_id)
    with redis.Redis.from_url(workers.broker_url) as broker:
        broker.lpush("scripted", b"not json", b"[]", b"\xff\xfe", b'{"headers": {"id": "half"}}')
    with workers.client() as client:
        good = client.wait(client.submit_text("scripted", "good"))
        rows = {job_id: client.wait(job_id) for job_id in bad}
        assert {job_id: row.error_code for job_id, row in rows.items()} == {
            job_id: code for job_id, (_, _, code) in bad.items()
        }
        assert all(row.error_message for row in rows.values())
        assert client.wait("half").error_code == "unknown_task"
        store = client._database
        unreadable = wait_for(lambda: three_unreadable(newest_results(store)))
    assert {row.error_code for row in unreadable} == {"invalid_message"}
    assert good.status == "succeeded"


def test_a_job_in_the_maintenance_queue_is_not_quoted_in_the_log(workers: Workers) -> None:
    worker = workers.start()
    stranger(workers).send_task(
        "labelmill.classify", kwargs={"text": "a secret payload"}, queue="maintenance"
    )
    wait_for(lambda: "send it to a model's queue" in worker.text())
    assert "secret" not in worker.text()


def three_unreadable(rows: list[Result]) -> list[Result]:
    found = [row for row in rows if row.id.startswith("unreadable-")]
    return found if len(found) == 3 else []


def test_remote_control_answers_while_the_device_is_busy(workers: Workers, tmp_path: Path) -> None:
    worker = workers.start()
    with workers.client() as client:
        job_id = hold(client, tmp_path / "go")
        inspect = stranger(workers).control.inspect([worker.name], timeout=5)
        assert inspect.ping() == {worker.name: {"ok": "pong"}}
        assert inspect.stats()[worker.name]["labelmill"]["in_flight"] == 1
        assert [job["id"] for job in inspect.active()[worker.name]] == [job_id]
        (tmp_path / "go").touch()
        client.wait(job_id)
        assert wait_for(lambda: inspect.active()[worker.name] == [])


def test_control_shutdown_ends_a_busy_worker_in_good_order(
    workers: Workers, tmp_path: Path
) -> None:
    worker = workers.start()
    with workers.client() as client:
        job_id = hold(client, tmp_path / "go")
        stranger(workers).control.shutdown([worker.name])
        wait_for(lambda: "shutdown from remote" in worker.text())
        (tmp_path / "go").touch()
        assert worker.process.wait() == 0
        assert client.result(job_id).status == "succeeded"


def test_sigterm_finishes_the_device_and_gives_the_rest_back(
    workers: Workers, tmp_path: Path
) -> None:
    worker = workers.start()
    with workers.client() as client:
        job_id = hold(client, tmp_path / "go")
        waiting = client.submit_many("scripted", [NewJob(text=f"t{i}") for i in range(500)]).ids
        wait_for(lambda: depth(workers, "scripted")["leased"] == 129)
        worker.process.terminate()
        wait_for(lambda: "stopping: 1 jobs on the device" in worker.text())
        (tmp_path / "go").touch()
        assert worker.process.wait() == 0
        assert client.result(job_id).status == "succeeded"
        assert depth(workers, "scripted") == {
            "waiting": 500,
            "leased": 0,
            "delayed": 0,
            "dead": 0,
        }
        workers.start()
        rows = [client.wait(each) for each in waiting]
    assert {(row.status, row.attempt) for row in rows} == {("succeeded", 1)}
    # In the order in which they were submitted, as if nothing had happened.
    assert min(rows, key=lambda row: row.started_at).label == "t0"


def test_an_old_schema_is_refused(workers: Workers, tmp_path: Path) -> None:
    workers.database_url = f"sqlite:///{tmp_path / 'bare.db'}"
    worker = workers.start(wait=False)
    assert worker.process.wait() != 0
    assert "labelmill db upgrade" in worker.text()


def test_the_client_needs_no_torch() -> None:
    code = (
        "import sys, labelmill, labelmill.client.client;"
        "sys.exit(bool({'torch', 'transformers', 'PIL'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_of_kombu_consumes_the_queue(workers: Workers) -> None:
    """kombu's consumer would leave its mark in ``unacked`` and take jobs without a lease."""
    workers.start()
    with workers.client() as client:
        client.wait(client.submit_text("scripted", "x"))
    with redis.Redis.from_url(workers.broker_url) as broker:
        wait_for(lambda: "blmove" in {each["cmd"] for each in broker.client_list()})
        assert not broker.exists("unacked")
        # Acknowledged, which comes after the row.
        assert wait_for(lambda: not broker.exists(QueueKeys("scripted").messages))
