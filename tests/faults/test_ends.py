"""The ends of processes: exit codes, one line that says why, and signals that are ignored."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from labelmill.broker.announcements import STREAM
from labelmill.broker.heartbeat import heartbeat_key, heartbeat_of, heartbeats, is_ready
from labelmill.core import exit_codes
from tests.support.waiting import wait_for
from tests.support.worker import SCRIPTED_MODELS, WorkerProcess, Workers

HOST = socket.gethostname()
CELERY = (sys.executable, "-m", "celery", "-A", "labelmill.worker", "worker", "-n", "%n")
NOWHERE = "redis://127.0.0.1:1/0"

# What, the words of the command, what is set, models.toml, the exit code, and the reason.
REFUSALS: dict[str, tuple[tuple[str, ...], dict[str, str], str, int, str]] = {
    "an unknown option": (("worker", "--nothing"), {}, "", 2, "No such option"),
    "an unknown log level": (("worker", "--log-level", "loud"), {}, "", 2, "'loud' is not one of"),
    "an unknown model": (("worker", "--models", "x"), {}, "", 2, "no model 'x' in models.toml"),
    "a broken models.toml": (("worker",), {}, "broken =", 2, "cannot be read: Invalid value"),
    "a setting": (("worker",), {"LEASE_SECONDS": "x"}, "", 2, "LABELMILL_LEASE_SECONDS: Input"),
    "an engine": (("worker",), {}, SCRIPTED_MODELS + "x = 1", 2, "models.scripted: x: Extra"),
    "a model": (("worker",), {}, '[models.x]\ntask="text-classification"\ncheckpoint="."', 1, "."),
    "no Redis": (("worker",), {"BROKER_URL": NOWHERE}, "", 3, "Redis does not answer"),
    "no database": (
        ("worker",),
        {"DATABASE_URL": "postgresql://a:b@127.0.0.1:1/x"},
        "",
        3,
        "does not answer",
    ),
    "an old schema": (
        ("worker",),
        {"DATABASE_URL": "sqlite:///bare.db"},
        "",
        1,
        "run: labelmill db upgrade",
    ),
    "a port": (("serve", "--port", "%taken"), {}, "", 2, "(Address already in use); choose"),
    "a port of up": (("up", "--port", "%taken"), {}, "", 2, "(Address already in use); choose"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_what_cannot_be_used_ends_in_a_line(workers: Workers, what: str) -> None:
    words, variables, models, code, reason = REFUSALS[what]
    workers.configure(models or SCRIPTED_MODELS, **variables)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = run(workers, *(word.replace("%taken", port) for word in words))
    assert ran.returncode == code, ran.stderr
    assert reason in ran.stderr
    assert "Traceback" not in ran.stderr
    if "No such" not in reason and "is not one of" not in reason:  # in a frame, with the usage
        assert "error: " in ran.stderr.splitlines()[-1]


@pytest.mark.parametrize("what", ["a setting", "a broken models.toml", "no Redis"])
def test_celerys_own_command_ends_in_a_line_as_well(workers: Workers, what: str) -> None:
    _, variables, models, code, reason = REFUSALS[what]
    workers.configure(models or SCRIPTED_MODELS, **variables)
    worker = workers.start(*CELERY, wait=False)
    assert worker.process.wait() == code
    assert reason in worker.text()
    assert "Traceback" not in worker.text()


def run(workers: Workers, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "labelmill", *words],
        capture_output=True,
        text=True,
        cwd=workers.folder,
        env=workers.environment() | {"COLUMNS": "200"},
    )


# A worker that loads


@pytest.fixture
def loaded(workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that lets models be loaded once it exists."""
    workers.configure(SCRIPTED_MODELS.replace("ScriptedEngine", "SlowToLoadEngine"))
    path = tmp_path / "loaded"
    monkeypatch.setenv("LOADED", str(path))
    return path


def start_loading(workers: Workers, *words: str) -> WorkerProcess:
    """Start a worker, and wait until it loads."""
    worker = workers.start(*words, wait=False)
    wait_for(lambda: "loading scripted" in worker.text())
    return worker


def test_a_worker_that_loads_says_so(workers: Workers, loaded: Path) -> None:
    worker = start_loading(workers)
    with workers.broker() as broker:
        beat = heartbeat_of(broker, worker.name)
        assert beat is not None
        assert (beat["state"], beat["models"], is_ready(beat)) == ("loading", ["scripted"], False)
        health = run(workers, "health", "--name", worker.name)
        assert health.returncode == exit_codes.UNAVAILABLE
        assert f"{worker.name} is loading its models" in health.stderr
        assert "loading" in run(workers, "status").stdout
        queue = run(workers, "status", "--json").stdout
        assert '"served": false' in queue
        # It is renewed: it is there for as long as it takes.
        broker.pexpire(heartbeat_key(worker.name), 500)
        wait_for(lambda: broker.pttl(heartbeat_key(worker.name)) > 1000)
        loaded.touch()
        workers.wait_ready(worker)
    assert run(workers, "health", "--name", worker.name).stdout == "alive\n"


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 0), (signal.SIGINT, exit_codes.INTERRUPTED), (signal.SIGQUIT, 1)],
    ids=["SIGTERM", "SIGINT", "SIGQUIT"],
)
@pytest.mark.usefixtures("loaded")
def test_a_signal_ends_a_worker_that_loads_and_leaves_nothing(
    workers: Workers, number: signal.Signals, code: int
) -> None:
    by_celery = (*CELERY, "-l", "info") if number == signal.SIGTERM else ()
    worker = start_loading(workers, *by_celery)
    os.kill(worker.pid, number)
    assert worker.process.wait(10) == code
    assert f"{number.name} before the models were loaded" in worker.text()
    with workers.broker() as broker:
        assert heartbeats(broker) == []


def test_sigterm_ends_a_worker_that_waits_for_a_silent_database(workers: Workers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        workers.configure(database_url=f"postgresql://a:b@127.0.0.1:{port}/x")
        worker = workers.start(wait=False)
        connection, _ = silent.accept()
        with connection:
            worker.process.terminate()
            assert worker.process.wait(10) == 0


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_what_ends_up_while_it_starts_ends_its_children(
    workers: Workers, number: signal.Signals
) -> None:
    up = start_up(workers)
    wait_for(lambda: any("worker" in each.cmdline() for each in children(up)))
    family = [psutil.Process(up.pid), *children(up)]
    os.kill(up.pid, number)
    code = {signal.SIGTERM: exit_codes.INTERRUPTED, signal.SIGKILL: -signal.SIGKILL}[number]
    assert up.process.wait(60) == code
    assert psutil.wait_procs(family, timeout=60)[1] == []


def start_up(workers: Workers) -> WorkerProcess:
    return workers.start(sys.executable, "-m", "labelmill", "up", wait=False)


def children(up: WorkerProcess) -> list[psutil.Process]:
    return list(psutil.Process(up.pid).children(recursive=True))


# A worker that works


def test_one_signal_ends_a_worker_in_good_order_and_tells_which(workers: Workers) -> None:
    started = [workers.start(wait=False) for _ in range(2)]
    codes = {signal.SIGTERM: 0, signal.SIGINT: 1}  # the second as Celery's workers do
    for worker, (number, code) in zip(started, codes.items(), strict=True):
        workers.wait_ready(worker)
        os.kill(worker.pid, number)
        assert worker.process.wait(60) == code
        assert "gave back 0 jobs" in worker.text()


def test_what_was_ignored_at_the_start_stays_ignored(workers: Workers) -> None:
    """As ``nohup labelmill worker &`` leaves it; SIGTERM ends it all the same."""
    commands = {
        "worker": (sys.executable, "-m", "labelmill", "worker", "--name", "%n"),
        "celery": (*CELERY, "-l", "info"),
        "serve": (sys.executable, "-m", "labelmill", "serve", "--port", "0"),
        "reconcile": (sys.executable, "-m", "labelmill", "reconcile", "--every", "60"),
        "webhook": (sys.executable, "-m", "labelmill", "webhook"),
    }
    ready = {
        "worker": "ready.",
        "celery": "ready.",
        "serve": "Uvicorn running",
        "reconcile": "looked at",
        "webhook": "",
    }
    workers.configure(webhook_url="http://127.0.0.1:1/", webhook_secret="whsec_" + "A" * 32)
    started = {
        name: workers.start(*words, wait=False, inherited=signal.SIG_IGN)
        for name, words in commands.items()
    }
    for name, process in started.items():
        wait_for(lambda name=name, process=process: ready[name] in process.text())  # type: ignore[misc]
    with workers.broker() as broker:
        wait_for(lambda: broker.exists(STREAM))  # the webhook has its handlers
    for process in started.values():
        for number in (signal.SIGINT, signal.SIGHUP):
            os.kill(process.pid, number)
    with workers.client() as client:
        assert client.wait(client.submit_text("scripted", "one")).label == "one"
    for name, process in started.items():
        status = psutil.Process(process.pid)
        assert status.status() != psutil.STATUS_ZOMBIE, f"{name}: {process.text()}"
    for name, process in started.items():
        assert process.terminate() == 0, f"{name}: {process.text()}"


# Names


def test_workers_without_a_name_get_one_each(workers: Workers) -> None:
    words = (sys.executable, "-m", "labelmill", "worker")
    with workers.broker() as broker:
        started = [workers.start(*words, wait=False) for _ in range(3)]

        def names() -> set[str]:
            return {beat["worker"] for beat in heartbeats(broker) if is_ready(beat)}

        mine = {f"labelmill@{HOST}", f"labelmill-2@{HOST}", f"labelmill-3@{HOST}"}
        wait_for(lambda: names() == mine)
        # Whoever was killed has left its name behind.
        started[0].kill()
        again = workers.start(*words, wait=False)
        wait_for(lambda: again.pid in {beat["pid"] for beat in heartbeats(broker)})
        assert {beat["worker"] for beat in heartbeats(broker)} == mine


def test_a_name_that_lives_is_refused_and_one_that_was_killed_is_not(workers: Workers) -> None:
    first = workers.start()
    refused = run(workers, "worker", "--name", first.name)
    assert refused.returncode == exit_codes.USAGE
    assert f"a worker called {first.name} lives already" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    first.kill()
    with workers.broker() as broker:
        assert broker.exists(heartbeat_key(first.name))
        again = workers.start(
            sys.executable, "-m", "labelmill", "worker", "--name", first.name, wait=False
        )
        wait_for(lambda: "ready." in again.text() or again.process.poll() is not None)
        beat = heartbeat_of(broker, first.name)
        assert beat is not None
        assert beat["pid"] == again.pid
    assert again.terminate() == 0


# labelmill up


def test_redis_of_up_is_started_again_with_its_data(workers: Workers) -> None:
    up = start_up(workers)
    with ExitStack() as stack:
        stack.callback(up.process.wait)
        stack.callback(up.process.terminate)
        wait_for(lambda: "labelmill is up" in up.text())
        environment = {
            key: value for key, value in workers.environment().items() if "BROKER_URL" not in key
        }

        def submit(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "labelmill", "submit", "scripted", "--text", *words],
                capture_output=True,
                text=True,
                cwd=workers.folder,
                env=environment,
            )

        for number in (signal.SIGTERM, signal.SIGKILL):
            [server] = [each for each in children(up) if "redis-server" in each.name()]
            later = submit("x").stdout.strip()
            server.send_signal(number)
            psutil.wait_procs([server], timeout=60)
            wait_for(lambda: any("redis-server" in each.name() for each in children(up)))
            wait_for(lambda: submit("after all", "--wait").returncode == 0)
            assert later
        assert "Redis ended with exit code 0 and is started again" in " ".join(up.text().split())
        assert "was killed by SIGKILL and is started again" in " ".join(up.text().split())
        assert up.process.poll() is None
    assert up.process.returncode == 0
