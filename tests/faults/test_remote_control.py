"""Remote control: each of Celery's commands does what it says, or says what does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import celery
import pytest
from celery.worker.control import Panel
from kombu import pools

from labelmill.broker.heartbeat import heartbeat_of, heartbeats, serves
from labelmill.client import Client
from labelmill.core.catalog import MAINTENANCE_QUEUE
from labelmill.local.redis import RedisServer
from tests.support.counting import depth
from tests.support.waiting import wait_for
from tests.support.worker import SCRIPTED_MODELS, WorkerProcess, Workers

ELSEWHERE = SCRIPTED_MODELS.replace("scripted", "elsewhere")
CELERY = (sys.executable, "-m", "celery", "-A", "labelmill.worker")


class Controlled:
    """A worker, and an app of strangers that controls it."""

    def __init__(self, workers: Workers, password: str) -> None:
        self.workers = workers
        self.password = password
        self.worker = workers.start()
        self.broker = workers.broker()

    @property
    def app(self) -> celery.Celery:
        """A new one, which opens connections of its own after ``pools.reset``."""
        return celery.Celery("shop", broker=self.workers.broker_url, set_as_current=False)

    def ask(self, command: str, **arguments: Any) -> Any:
        """What the worker answers."""
        replies = self.app.control.broadcast(
            command, arguments=arguments, reply=True, timeout=20, limit=1
        )
        return replies[0][self.worker.name]

    def send(self, text: str, **options: Any) -> str:
        """Send a job that no ledger knows."""
        sent = self.app.send_task(
            "labelmill.classify", kwargs={"text": text}, queue="scripted", **options
        )
        return str(sent.id)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``celery -A labelmill.worker …``."""
        return subprocess.run(
            [*CELERY, *words],
            capture_output=True,
            text=True,
            cwd=self.workers.folder,
            env=self.workers.environment(),
        )


@pytest.fixture(scope="module")
def controlled(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path, cache_dir: Path
) -> Iterator[Controlled]:
    """One worker for all commands; each test leaves it as it was."""
    folder = tmp_path_factory.mktemp("controlled")
    database = shutil.copy(migrated_sqlite, folder / "labelmill.db")
    with RedisServer() as server:
        workers = Workers(server.url, f"sqlite:///{database}", folder)
        workers.configure(
            SCRIPTED_MODELS + "group_size = 2\n" + ELSEWHERE,
            cache_dir=str(cache_dir),
            models="scripted",
        )
        try:
            yield Controlled(workers, server.url.split(":")[2].split("@")[0])
        finally:
            workers.stop()


@pytest.fixture
def client(controlled: Controlled) -> Iterator[Client]:
    with controlled.workers.client() as client:
        yield client


def refused(words: str) -> Callable[[Any], bool]:
    return lambda answer: words in answer["error"]


def ok(words: str) -> Callable[[Any], bool]:
    return lambda answer: words in answer["ok"]


JOB = "labelmill.classify"
COMMANDS: dict[str, tuple[dict[str, Any], Callable[[Any], bool]]] = {
    "active": ({}, lambda answer: answer == []),
    "active_queues": (
        {},
        lambda answer: [each["name"] for each in answer] == ["scripted", MAINTENANCE_QUEUE],
    ),
    "add_consumer": ({"queue": "scripted"}, ok("taking from scripted, as before")),
    "autoscale": ({"max": 4, "min": 1}, refused("--per-device")),
    "cancel_consumer": ({"queue": "nobody"}, refused("does not take from 'nobody'")),
    "clock": ({}, lambda answer: answer["clock"] > 0),
    "conf": ({}, lambda answer: answer["task_default_queue"] == MAINTENANCE_QUEUE),
    "disable_events": ({}, ok("task events")),
    "election": ({"id": "1", "topic": "task", "action": None}, refused("no elections")),
    "enable_events": ({}, ok("task events enabled")),
    "heartbeat": ({}, lambda answer: answer is None),
    "hello": ({"from_node": "another@host"}, lambda answer: "revoked" in answer),
    "memdump": ({}, lambda answer: isinstance(answer, str)),
    "memsample": ({}, lambda answer: "MB" in answer),
    "objgraph": ({}, refused("memsample")),
    "ping": ({}, ok("pong")),
    "pool_grow": ({"n": 2}, refused("--per-device")),
    "pool_restart": ({}, refused("--per-device")),
    "pool_shrink": ({"n": 1}, refused("--per-device")),
    "query_task": ({"ids": ["nobody"]}, lambda answer: answer == {}),
    "rate_limit": ({"task_name": JOB, "rate_limit": "1/m"}, refused("cancel_consumer")),
    "registered": ({}, lambda answer: answer == [JOB, "labelmill.reconcile"]),
    "report": ({}, lambda answer: "labelmill" in answer["ok"]),
    "reserved": ({}, lambda answer: answer == []),
    "revoke": ({"task_id": "nobody"}, ok("revoked")),
    "revoke_by_stamped_headers": ({"headers": {"shop": "1"}}, refused("by its id")),
    "revoked": ({}, lambda answer: "nobody" in answer),
    "scheduled": ({}, lambda answer: answer == []),
    "stats": ({}, lambda answer: answer["labelmill"]["models"] == ["scripted"]),
    "terminate": ({"task_id": ["nobody"], "signal": "KILL"}, ok("revoked")),
    "time_limit": ({"task_name": JOB, "hard": 1}, refused("LABELMILL_FORWARD_TIMEOUT")),
    # test_worker.py::test_control_shutdown_ends_a_busy_worker_in_good_order
    "shutdown": ({}, lambda answer: True),
}


def test_every_command_of_celerys_answers_what_is_true(
    controlled: Controlled, client: Client
) -> None:
    assert set(COMMANDS) == set(Panel.meta)
    for command, (arguments, is_right) in COMMANDS.items():
        if command != "shutdown":
            answer = controlled.ask(command, **arguments)
            assert is_right(answer), f"{command}: {answer}"
            assert controlled.password not in json.dumps(answer)
    assert "Traceback" not in controlled.worker.text()
    assert client.wait(controlled.send("still alive")).label == "still alive"


def test_maintenance_has_its_limits(controlled: Controlled) -> None:
    reconcile = "labelmill.reconcile"
    assert "thread" in controlled.ask("time_limit", task_name=reconcile, hard=1)["error"]
    assert "ok" in controlled.ask("rate_limit", task_name=reconcile, rate_limit="5/s")
    assert "ok" in controlled.ask("rate_limit", task_name=reconcile, rate_limit=0)


def test_a_paused_queue_keeps_its_jobs_until_it_is_taken_from_again(
    controlled: Controlled, client: Client, tmp_path: Path
) -> None:
    held = client.submit_text("scripted", f"hold {tmp_path / 'go'}")
    wait_for((tmp_path / "go.started").exists)
    assert "paused" in controlled.ask("cancel_consumer", queue="scripted")["ok"]
    (tmp_path / "go").touch()
    assert client.wait(held).status == "succeeded"

    beat = wait_for(lambda: beat_with(controlled, ["scripted"]))
    assert not serves(beat, "scripted")
    shown = subprocess.run(
        [sys.executable, "-m", "labelmill", "status"],
        capture_output=True,
        text=True,
        cwd=controlled.workers.folder,
        env=controlled.workers.environment() | {"COLUMNS": "200"},
    ).stdout
    assert f"{controlled.worker.name} has paused scripted" in shown
    assert [each["name"] for each in controlled.ask("active_queues")] == [MAINTENANCE_QUEUE]

    # What Celery does when it has lost its connection changes nothing.
    before = listeners(controlled)
    for kind in ("normal", "pubsub"):
        controlled.broker.client_kill_filter(_type=kind, skipme=True)
    pools.reset()  # those of this process
    wait_for(lambda: listeners(controlled) and not listeners(controlled) & before)
    sent = [controlled.send(f"waits {number}") for number in range(5)]
    renewed = wait_for(lambda: beat_with(controlled, ["scripted"]))
    assert controlled.ask("ping")
    assert depth(controlled.broker)["waiting"] == len(sent)
    assert renewed["jobs"] == beat["jobs"]

    assert controlled.ask("add_consumer", queue="scripted") == {"ok": "taking from scripted"}
    assert {client.wait(each).status for each in sent} == {"succeeded"}
    wait_for(lambda: beat_with(controlled, []))


def listeners(controlled: Controlled) -> set[str]:
    """The connections on which Celery's loop hears control commands."""
    return {each["id"] for each in controlled.broker.client_list(_type="pubsub")}


def beat_with(controlled: Controlled, paused: list[str]) -> Any:
    beat = heartbeat_of(controlled.broker, controlled.worker.name)
    return beat if beat and beat.get("paused") == paused else None


@pytest.mark.parametrize(
    ("queue", "words"),
    [("elsewhere", "--models elsewhere"), ("orders", "no model"), ("maintenance", "no model")],
)
def test_add_consumer_reads_no_queue_of_others(
    controlled: Controlled, queue: str, words: str
) -> None:
    for number in range(3):
        controlled.app.send_task("shop.order", queue=queue, task_id=str(number))
    answered = controlled.run("control", "add_consumer", queue).stdout
    assert "ERROR" in answered
    assert words in " ".join(answered.split())
    controlled.ask("ping")
    assert controlled.broker.llen(queue) == 3
    assert controlled.broker.delete(queue)


def test_jobs_in_hand_are_told_without_what_is_in_them(
    controlled: Controlled, client: Client, tmp_path: Path
) -> None:
    held = client.submit_text("scripted", f"hold {tmp_path / 'go'}")
    wait_for((tmp_path / "go.started").exists)
    jobs = [controlled.send(f"secret {number}") for number in range(6)]
    wait_for(lambda: len(controlled.ask("reserved")) == 2)
    reserved = controlled.ask("reserved")
    active = controlled.ask("active")
    assert [each["id"] for each in active] == [held]
    assert {each["id"] for each in reserved} <= set(jobs)
    asked = controlled.ask("query_task", ids=[held, reserved[0]["id"], jobs[-1], "nobody"])
    assert {job_id: place for job_id, (place, _) in asked.items()} == {
        held: "active",
        reserved[0]["id"]: "reserved",
    }
    assert "secret" not in json.dumps([active, reserved, asked])

    answer = controlled.ask("revoke", task_id=[held, jobs[-1]], terminate=True)
    assert held in answer["error"]
    assert jobs[-1] not in answer["error"]
    (tmp_path / "go").touch()
    assert client.wait(held).status == "succeeded"
    assert client.wait(jobs[-1]).error_code == "revoked"
    assert {client.wait(each).status for each in jobs[:-1]} == {"succeeded"}


@pytest.mark.parametrize(
    "words",
    [
        ("purge", "-f", "-Q", "elsewhere"),
        ("amqp", "queue.purge", "elsewhere"),
        ("amqp", "queue.delete", "elsewhere"),
        ("amqp", "basic.get", "elsewhere"),
    ],
    ids=" ".join,
)
def test_no_command_of_celerys_empties_a_models_queue(
    controlled: Controlled, words: tuple[str, ...]
) -> None:
    controlled.app.send_task(JOB, kwargs={"text": "x"}, queue="elsewhere")
    ran = controlled.run(*words)
    assert controlled.broker.llen("elsewhere") == 1
    assert "'elsewhere' is not for Celery to read or to empty" in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
    assert controlled.broker.delete("elsewhere")


def test_purge_empties_maintenance_alone(controlled: Controlled) -> None:
    controlled.app.send_task(JOB, kwargs={"text": "x"}, queue="elsewhere")
    ran = controlled.run("purge", "-f")
    assert ran.returncode == 0, ran.stderr
    assert "1 queue" in ran.stdout
    assert controlled.broker.llen("elsewhere") == 1
    assert controlled.broker.delete("elsewhere")


def test_with_a_state_file_a_revoked_job_stays_revoked_over_a_restart(workers: Workers) -> None:
    options = ("--statedb", str(workers.folder / "state"))
    first = start_with(workers, *options)
    with workers.client() as client:
        app = celery.Celery("shop", broker=workers.broker_url, set_as_current=False)
        eta = datetime.now(UTC) + timedelta(seconds=8)
        delayed = client.submit_text("scripted", "x", eta=eta)
        wait_for(lambda: client_depth(workers)["delayed"] == 1)
        app.control.revoke(delayed)
        wait_for(lambda: delayed in first.text())
        assert first.terminate() == 0
        start_with(workers, *options)
        assert client.wait(delayed).error_code == "revoked"


def client_depth(workers: Workers) -> dict[str, int]:
    with workers.broker() as broker:
        return depth(broker)


OPTIONS = [
    (("-P", "processes"), 2, "-P: "),
    (("--autoscale", "4,1"), 2, "--autoscale: "),
    (("-B",), 2, "celery -A labelmill.worker beat"),
    (("-X", "scripted"), 2, "name the models to serve instead"),
    (("-Q", "nobody"), 2, "-Q nobody: no such model"),
]


@pytest.mark.parametrize(("options", "code", "words"), OPTIONS, ids=lambda each: str(each))
def test_an_option_that_would_harm_the_pipeline_is_refused_in_a_line(
    workers: Workers, options: tuple[str, ...], code: int, words: str
) -> None:
    worker = workers.start(*CELERY, "worker", "-n", "%n", *options, wait=False)
    assert worker.process.wait() == code
    assert words in worker.text()
    assert "Traceback" not in worker.text()
    assert heartbeats(workers.broker()) == []


def test_options_that_leave_the_pipeline_alone(workers: Workers) -> None:
    workers.configure(SCRIPTED_MODELS + ELSEWHERE)
    worker = start_with(
        workers,
        *("-Q", "scripted,maintenance", "-X", "maintenance", "-P", "prefork", "-c", "3", "-E"),
        *("--max-tasks-per-child", "1", "--purge", "--time-limit", "1"),
    )
    with workers.client() as client, workers.broker() as broker:
        for text in ("one", "two", "three"):
            assert client.wait(client.submit_text("scripted", text)).label == text
        elsewhere = client.submit_text("elsewhere", "x")
        assert broker.llen("elsewhere") == 1
        assert client.result(elsewhere) is None
    assert worker.terminate() == 0


def test_the_solo_pool(workers: Workers) -> None:
    worker = start_with(workers, "-P", "solo")
    with workers.client() as client:
        assert client.wait(client.submit_text("scripted", "one")).label == "one"
    assert worker.terminate() == 0


def start_with(workers: Workers, *options: str) -> WorkerProcess:
    return workers.start(*CELERY, "worker", "-n", "%n", "-l", "info", *options)
