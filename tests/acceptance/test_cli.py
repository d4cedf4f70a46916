"""The command line as a person uses it: ``labelmill up`` in one terminal, the rest in another."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM

import httpx
import psutil
import pytest
from dotenv import dotenv_values

from labelmill.client import Client
from tests.support.signals import inheriting
from tests.support.together import Outcome, together
from tests.support.waiting import wait_for
from tests.support.worker import ROOT, SCRIPTED_MODELS


@dataclass
class Terminal:
    """A folder in which commands are run."""

    folder: Path

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if "LABELMILL" not in name}
        return kept | {"PYTHONPATH": str(ROOT), "COLUMNS": "160"}  # for the scripted engine

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a labelmill command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "labelmill", *arguments],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A folder in which ``labelmill up`` runs."""
    terminal = Terminal(tmp_path_factory.mktemp("up"))
    with up(terminal, signal.SIG_DFL) as process:
        yield terminal
        process.send_signal(SIGINT)
        assert process.wait() == 0, (terminal.folder / "up.log").read_text()


@contextmanager
def up(terminal: Terminal, inherited: signal.Handlers) -> Iterator[subprocess.Popen[bytes]]:
    """``labelmill up``, once it is up.

    Parameters:
        inherited: what becomes of SIGINT, SIGQUIT and SIGHUP: SIG_DFL in a terminal, SIG_IGN for
            what is started as ``nohup labelmill up &``.
    """
    (terminal.folder / "models.toml").write_text(SCRIPTED_MODELS)
    with (terminal.folder / "up.log").open("wb") as log, inheriting(inherited):
        process = subprocess.Popen(
            [sys.executable, "-m", "labelmill", "up"],
            cwd=terminal.folder,
            env=terminal.environment(),
            stdout=log,
            stderr=log,
        )

    def is_up() -> bool:
        said = (terminal.folder / "up.log").read_text()
        assert process.poll() is None, said
        return "labelmill is up" in said

    try:
        wait_for(is_up)
        yield process
    finally:
        process.terminate()
        process.wait()


def test_it_ends_with_its_terminal(tmp_path: Path) -> None:
    with up(Terminal(tmp_path), signal.SIG_DFL) as process:
        process.send_signal(SIGHUP)
        assert process.wait() == 0


def test_in_the_background_it_ends_by_sigterm_alone(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    with up(terminal, signal.SIG_IGN) as process:
        process.send_signal(SIGINT)
        process.send_signal(SIGHUP)
        assert terminal.run("submit", "scripted", "--text", "hello", "--wait").returncode == 0
        assert process.poll() is None
        process.send_signal(SIGTERM)
        assert process.wait() == 0


def test_one_text_and_its_label(terminal: Terminal) -> None:
    done = terminal.run("submit", "scripted", "--text", "hello", "--wait")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert (row["label"], row["status"], row["group_size"]) == ("hello", "succeeded", 1)


def test_a_text_over_http(terminal: Terminal) -> None:
    address = re.search(r"http://127\.0\.0\.1:\d+", (terminal.folder / "up.log").read_text())
    assert address
    with httpx.Client(base_url=address[0], timeout=60) as gateway:
        accepted = gateway.post("/v1/jobs", json={"model": "scripted", "text": "hello"})
        assert accepted.status_code == 202, accepted.text
        job = gateway.get(accepted.headers["location"], params={"wait": "30s"}).json()
    assert (job["state"], job["result"]["label"]) == ("succeeded", "hello")


def test_a_worker_that_was_killed_is_started_again(terminal: Terminal) -> None:
    mine = psutil.Process().children()
    [worker] = [
        child
        for up in mine
        if "up" in up.cmdline()
        for child in up.children()
        if "worker" in child.cmdline()
    ]
    worker.kill()
    done = terminal.run("submit", "scripted", "--text", "after all", "--wait")
    assert done.returncode == 0, done.stderr
    log = " ".join((terminal.folder / "up.log").read_text().split())
    assert "worker1@" in log
    assert "was killed by SIGKILL and is started again" in log


def test_a_gateway_that_was_killed_keeps_its_port_and_its_callers(terminal: Terminal) -> None:
    address = re.search(r"http://127\.0\.0\.1:\d+", (terminal.folder / "up.log").read_text())
    assert address
    [gateway] = [
        each for each in psutil.Process().children(recursive=True) if "serve" in each.cmdline()
    ]
    gateway.kill()
    # It waits until the next one takes it.
    assert httpx.get(f"{address[0]}/healthz", timeout=60).status_code == 200
    log = " ".join((terminal.folder / "up.log").read_text().split())
    assert "gateway was killed by SIGKILL and is started again" in log


def test_a_file_in_bulk_and_its_results(terminal: Terminal) -> None:
    file = terminal.folder / "messages.csv"
    file.write_text('ticket,body\nt1,one\nt2,"two\nlines"\nt3,\n')
    done = terminal.run(
        "submit", "scripted", str(file), "--text-column", "body", "--id-column", "ticket", "--wait"
    )
    assert done.returncode == 4, done.stderr
    run = done.stdout.strip()
    assert "2 submitted, 0 submitted before, 1 rejected" in done.stderr
    assert "row 3, line 5: text is empty" in done.stderr
    rows = [
        json.loads(line)
        for line in terminal.run("results", "--run", run, "--json").stdout.splitlines()
    ]
    assert {(row["id"], row["label"]) for row in rows} == {("t1", "one"), ("t2", "two\nlines")}
    assert all(row["input"] == row["label"] for row in rows)
    assert "2 succeeded, 0 failed" in done.stderr
    table = list(csv.DictReader(io.StringIO(terminal.run("results", "--run", run, "--csv").stdout)))
    assert json.loads(table[0]["scores"]) == [{"label": "one", "score": 1.0}]
    again = terminal.run(
        "submit", "scripted", str(file), "--text-column", "body", "--id-column", "ticket"
    )
    assert "0 submitted, 2 submitted before" in again.stderr


def test_a_jsonl_file_without_waiting(terminal: Terminal) -> None:
    file = terminal.folder / "messages.jsonl"
    file.write_text('{"text": "x"}\n{"text": "y"}\n')
    done = terminal.run("submit", "scripted", str(file), "--run", "mine")
    assert (done.returncode, done.stdout) == (0, "mine\n")
    assert "run mine" in done.stderr
    wait_for(
        lambda: len(terminal.run("results", "--run", "mine", "--json").stdout.splitlines()) == 2
    )


def test_failed_jobs_are_told_and_end_with_a_failure(terminal: Terminal) -> None:
    file = terminal.folder / "bad.csv"
    file.write_text("text\nraise\nfine\n")
    done = terminal.run("submit", "scripted", str(file), "--run", "bad", "--wait")
    assert done.returncode == 1
    assert "1 succeeded, 1 failed" in done.stderr
    assert terminal.run("submit", "scripted", "--text", "raise", "--wait").returncode == 1


def test_results_of_named_jobs(terminal: Terminal) -> None:
    job_id = json.loads(terminal.run("submit", "scripted", "--text", "a", "--wait").stdout)["id"]
    [row] = terminal.run("results", job_id, "--json").stdout.splitlines()
    assert json.loads(row)["id"] == job_id


def test_status_tells_of_queues_workers_and_runs(terminal: Terminal) -> None:
    state = json.loads(terminal.run("status", "--json").stdout)
    assert state["queues"]["scripted"]["waiting"] == 0
    assert [worker["models"] for worker in state["workers"]] == [["scripted"]]
    shown = terminal.run("status").stdout
    assert "scripted" in shown
    assert "worker1@" in shown
    [worker] = state["workers"]
    assert worker["running"]["scripted"]["device"] == "cpu"
    assert "models as they run" in shown
    assert "128 jobs" in shown


@pytest.mark.parametrize("name", [[], ["--name", "worker1@%h"]], ids=["any", "named"])
def test_health_says_alive(terminal: Terminal, name: list[str]) -> None:
    done = terminal.run("health", *name)
    assert (done.returncode, done.stdout) == (0, "alive\n")


def test_jobs_for_a_model_that_nobody_serves_are_seen(terminal: Terminal) -> None:
    # The command refuses what models.toml does not have; a web app has no models.toml.
    addresses = dotenv_values(terminal.folder / ".labelmill" / "env")
    broker, database = (addresses[f"LABELMILL_{name}_URL"] for name in ("BROKER", "DATABASE"))
    with Client(broker, database) as client:
        client.submit_text("scriptd", "a typo")

    assert "no worker serves scriptd, where jobs wait" in terminal.run("status").stdout
    queue = json.loads(terminal.run("status", "--json").stdout)["queues"]["scriptd"]
    assert (queue["waiting"], queue["served"]) == (1, False)


def test_only_one_up_a_folder(terminal: Terminal) -> None:
    done = terminal.run("up")
    assert done.returncode == 2
    assert "up in this folder already" in done.stderr


MISTAKES = {
    "submit scripted": (2, "give one of SOURCE, --text and --image"),
    "submit scripted --text ''": (1, "text is empty"),
    "submit scripted nothing.csv": (1, "there is no file or folder"),
    "results --json --csv": (2, "give one of --format, --json and --csv"),
    "health --name nobody@nowhere": (3, "no fresh heartbeat of nobody@nowhere"),
    "submit scriptd --text x": (2, "no model 'scriptd' in models.toml"),
    "submit": (2, "Missing argument"),
    "worker --models unknown": (2, "no model 'unknown'"),
    "worker --devices gpu": (2, "--devices takes all, cpu, or cuda:0, cuda:1 and so on"),
    "worker --devices cpu --name w1@%h": (2, "give the part behind the @ alone"),
}


@pytest.fixture(scope="module")
def mistakes(terminal: Terminal) -> dict[str, Outcome]:
    """What came of each."""
    lines = [shlex.split(line) for line in MISTAKES]
    outcomes = together(terminal.folder, terminal.environment(), lines)
    return dict(zip(MISTAKES, outcomes, strict=True))


@pytest.mark.parametrize("line", MISTAKES)
def test_mistakes_are_told_in_a_line(mistakes: dict[str, Outcome], line: str) -> None:
    code, message = MISTAKES[line]
    assert mistakes[line].code == code
    assert message in mistakes[line].said
    assert "Traceback" not in mistakes[line].said


def test_a_mistake_is_an_error_and_no_output(terminal: Terminal) -> None:
    done = terminal.run("submit", "scripted")
    assert (done.returncode, done.stdout) == (2, "")
    assert MISTAKES["submit scripted"][1] in done.stderr


def test_redis_away_is_told_in_a_line(tmp_path: Path) -> None:
    away = Terminal(tmp_path)
    env = away.environment() | {"LABELMILL_BROKER_URL": "redis://127.0.0.1:1/0"}
    for command in (["db", "upgrade"], ["submit", "q", "--text", "x"]):
        done = subprocess.run(
            [sys.executable, "-m", "labelmill", *command],
            cwd=tmp_path, env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 3
    assert "LABELMILL_BROKER_URL" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_without_tables_is_told_in_a_line(tmp_path: Path) -> None:
    done = Terminal(tmp_path).run("results")
    assert done.returncode == 1
    assert "labelmill db upgrade" in done.stderr


def test_every_command_has_help_with_an_example(tmp_path: Path) -> None:
    commands = ["demo", "up", "worker", "submit", "status", "results", "health", "db upgrade"]
    lines = [[*command.split(), "--help"] for command in commands]
    outcomes = together(tmp_path, Terminal(tmp_path).environment(), lines)
    for command, outcome in zip(commands, outcomes, strict=True):
        assert outcome.code == 0, outcome
        assert "Example" in outcome.said
        assert f"labelmill {command}" in outcome.said
