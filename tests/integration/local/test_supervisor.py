"""A supervisor with real workers: each part of it is ended in each way, and rows are counted."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM, SIGTTIN, SIGTTOU

import psutil
import pytest
import redis

from labelmill.broker.heartbeat import heartbeats, is_ready
from labelmill.client import Client, NewJob
from labelmill.core import exit_codes
from tests.support.counting import (
    database_of,
    depth,
    freeze_results,
    row_count,
    rows_of,
    wait_until_nothing_is_left,
)
from tests.support.signals import inheriting
from tests.support.waiting import wait_for
from tests.support.worker import SCRIPTED_MODELS, WorkerProcess, Workers

HOST = socket.gethostname()
CARDS = [
    "GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77",
    "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f",
]
LISTING = f"""\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: {CARDS[0]})
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-8dfe12c1-3a4c-7e83-a9b1-0d7a2dd3b6f0)
  MIG 3g.40gb     Device  0: (UUID: {CARDS[1]})
"""


def runs(process: psutil.Process) -> bool:
    """Whether it is there, and no zombie."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Group:
    """``labelmill worker --devices …``, and the workers that it has."""

    def __init__(self, workers: Workers, process: WorkerProcess) -> None:
        self._workers = workers
        self._process = process
        self._ever: dict[int, psutil.Process] = {}

    @property
    def said(self) -> str:
        """What the supervisor and its workers have logged."""
        return self._process.text()

    @property
    def pid(self) -> int:
        return self._process.pid

    def processes(self) -> list[psutil.Process]:
        """The workers' processes that run."""
        try:
            found = psutil.Process(self.pid).children()
        except psutil.NoSuchProcess:
            return []
        self._ever |= {each.pid: each for each in found}
        return [each for each in found if runs(each)]

    def pids(self) -> dict[str, int]:
        """The process ids of the workers that are ready, by their name's part before the @."""
        with self._workers.broker() as broker:
            beats = heartbeats(broker)
        running = {each.pid for each in self.processes()}
        assert {each["worker"].partition("@")[2] for each in beats} <= {HOST}
        return {
            each["worker"].partition("@")[0]: each["pid"]
            for each in beats
            if each["pid"] in running and is_ready(each)
        }

    def wait_ready(self, count: int) -> dict[str, int]:
        """Wait until there are so many ready workers; their process ids."""

        def ready() -> dict[str, int] | None:
            assert self._process.process.poll() is None, self.said
            pids = self.pids()
            return pids if len(pids) == count else None

        return wait_for(ready)

    def send(self, *signals: signal.Signals) -> None:
        for each in signals:
            os.kill(self.pid, each)

    def wait_said(self, words: str) -> None:
        wait_for(lambda: words in self.said)

    def ended(self) -> int:
        """Wait for its end, after which nothing of it is left; the exit code."""
        self.processes()
        code = self._process.process.wait(timeout=100)
        self.nothing_is_left()
        return code

    def nothing_is_left(self) -> None:
        """Wait until none of its workers' processes is there."""
        _, left = psutil.wait_procs(list(self._ever.values()), timeout=100)
        assert left == [], self.said

    def kill(self) -> None:
        """End all of it at once."""
        everything = self.processes()
        if self._process.process.poll() is None:
            self._process.kill()
        with ExitStack() as all_of_them:
            for each in {*everything, *self._ever.values()}:
                if each.is_running():
                    all_of_them.callback(each.kill)


Start = Callable[..., Group]


@pytest.fixture
def start(workers: Workers) -> Iterator[Start]:
    """Starts ``labelmill worker`` with these options; ends it all at the end."""
    with ExitStack() as groups:

        def started(*options: str, inherited: signal.Handlers = signal.SIG_DFL) -> Group:
            words = (sys.executable, "-m", "labelmill", "worker", *options)
            group = Group(workers, workers.start(*words, wait=False, inherited=inherited))
            groups.callback(group.kill)
            return group

        yield started


class Load:
    """Jobs of which some are always waiting, as long as :meth:`keep_up` is called."""

    def __init__(self, client: Client, broker: redis.Redis) -> None:
        self._client = client
        self._broker = broker
        self.ids: list[str] = []

    def keep_up(self) -> None:
        if depth(self._broker)["waiting"] < 100:
            jobs = [NewJob(text=f"pause {len(self.ids) + i}") for i in range(100)]
            self.ids += self._client.submit_many("scripted", jobs).ids


@pytest.fixture
def client(workers: Workers) -> Iterator[Client]:
    """A client whose database refuses to change a row."""
    with workers.client() as client:
        freeze_results(database_of(client))
        yield client


@pytest.fixture
def some_load(client: Client, broker: redis.Redis) -> Load:
    return Load(client, broker)


def test_a_worker_is_killed_and_then_the_supervisor(
    start: Start,
    workers: Workers,
    some_load: Load,
    client: Client,
    broker: redis.Redis,
    tmp_path: Path,
) -> None:
    workers.configure(SCRIPTED_MODELS + "group_size = 8\n", lease_seconds="2")
    group = start("--devices", "cpu", "--per-device", "4")
    before = group.wait_ready(4)
    assert set(before) == {"cpu.1", "cpu.2", "cpu.3", "cpu.4"}
    threads = str(max(1, len(os.sched_getaffinity(0)) // 4))
    for process in group.processes():
        environment = process.environ()
        assert environment["CUDA_VISIBLE_DEVICES"] == ""
        assert environment["LABELMILL_DEVICE_MEMORY"] == "0.25"
        assert environment["LABELMILL_CPU_THREADS"] == threads
        assert os.getsid(process.pid) == process.pid
    maps = Path(f"/proc/{group.pid}/maps").read_text()
    assert not re.search("torch|libcuda", maps)

    # One that is killed comes back, and its jobs, too.
    some_load.keep_up()
    wait_for(lambda: depth(broker)["leased"] > 8)
    os.kill(before["cpu.2"], SIGKILL)
    group.wait_said(f"cpu.2@{HOST} was killed by SIGKILL and is started again in 1 s")

    def is_back() -> dict[str, int] | None:
        some_load.keep_up()
        pids = group.pids()
        return pids if len(pids) == 4 else None

    after = wait_for(is_back)
    assert {name for name in before if before[name] != after[name]} == {"cpu.2"}

    group.send(SIGTTIN)
    assert group.wait_ready(5).keys() - after.keys() == {"cpu.5"}
    group.send(SIGTTOU)
    wait_for(lambda: len(group.processes()) == 4)
    wait_for(lambda: group.pids() == after)

    rows = rows_of(client, some_load.ids)
    assert {row.status for row in rows} == {"succeeded"}
    wait_until_nothing_is_left(broker)

    # Without their supervisor they finish what is on their device, and end.
    held = client.submit_text("scripted", f"hold {tmp_path / 'go'}")
    wait_for((tmp_path / "go.started").exists)
    some_load.keep_up()
    group.send(SIGKILL)
    wait_for(lambda: group.said.count("jobs on the device") == 5)
    (tmp_path / "go").touch()
    group.nothing_is_left()
    assert client.result(held) is not None
    left = depth(broker)
    assert left["leased"] == 0
    assert left["waiting"] + row_count(database_of(client)) == len(some_load.ids) + 1


def test_a_rolling_restart_and_the_end_under_load(
    start: Start, workers: Workers, some_load: Load, client: Client, broker: redis.Redis
) -> None:
    # Nothing may have to wait for a lease of a minute to expire.
    workers.configure(lease_seconds="60")
    group = start("--devices", "cpu", "--per-device", "4")
    before = group.wait_ready(4)
    fewest = 4

    def are_all_new() -> bool:
        nonlocal fewest
        some_load.keep_up()
        now = group.pids()
        fewest = min(fewest, len(now))
        return len(now) == 4 and not set(now.values()) & set(before.values())

    group.send(SIGHUP)
    wait_for(are_all_new)
    assert fewest == 3
    starts = re.findall(rf"(cpu\.\d)@{HOST} is (?:started|ready)", group.said)[4:]
    group.wait_said(f"cpu.4@{HOST} is ready")
    assert starts[:7] == ["cpu.1", "cpu.1", "cpu.2", "cpu.2", "cpu.3", "cpu.3", "cpu.4"]

    some_load.keep_up()
    group.send(SIGTERM)
    assert group.ended() == 0
    left = depth(broker)
    assert left["leased"] == 0
    assert left["waiting"] + row_count(database_of(client)) == len(some_load.ids)
    workers.start()
    rows = rows_of(client, some_load.ids)
    assert {(row.status, row.attempt) for row in rows} == {("succeeded", 1)}


def test_a_rolling_restart_with_broken_models_ends_one_worker_alone(
    start: Start, workers: Workers
) -> None:
    group = start("--devices", "cpu", "--per-device", "2")
    before = group.wait_ready(2)
    workers.configure("[models.scripted]\n")
    group.send(SIGHUP)
    group.wait_said(f"cpu.1@{HOST} ended with exit code 2 and is started again in 1 s")
    group.wait_said("the other workers are not ended: they go on as they are")
    assert group.pids() == {"cpu.2": before["cpu.2"]}
    workers.configure()
    assert group.wait_ready(2)["cpu.2"] == before["cpu.2"]


def test_broken_models_at_the_start_end_it(start: Start, workers: Workers) -> None:
    workers.configure("[models.scripted]\n")
    group = start("--devices", "cpu", "--per-device", "2")
    assert group.ended() == exit_codes.USAGE
    assert "checkpoint: Field required" in group.said
    assert len(re.findall("is started, process", group.said)) == 2
    assert "is started again" not in group.said
    assert "Traceback" not in group.said


@pytest.mark.parametrize("signals", [[SIGINT, SIGINT], [SIGQUIT]], ids=["SIGINT twice", "SIGQUIT"])
def test_leaving_at_once_loses_nothing(
    start: Start,
    workers: Workers,
    client: Client,
    broker: redis.Redis,
    tmp_path: Path,
    signals: list[signal.Signals],
) -> None:
    workers.configure(lease_seconds="1", shutdown_grace="600")
    group = start("--devices", "cpu", "--per-device", "2")
    group.wait_ready(2)
    held = client.submit_text("scripted", f"hold {tmp_path / 'go'}")
    wait_for((tmp_path / "go.started").exists)
    for each in signals:
        group.send(each)
        group.wait_said("stopping: ")
    assert group.ended() == 1
    (tmp_path / "go").touch()
    workers.start()
    assert [row.status for row in rows_of(client, [held])] == ["succeeded"]
    wait_until_nothing_is_left(broker)


def test_under_nohup_it_hears_no_sighup_and_kills_who_does_not_end(
    start: Start, workers: Workers
) -> None:
    workers.configure(shutdown_grace="0")
    group = start("--devices", "cpu", "--name", "@%h", inherited=signal.SIG_IGN)
    pids = group.wait_ready(1)
    group.send(SIGHUP, SIGTTOU)
    group.wait_said("each device keeps one worker")
    assert "one worker after the other" not in group.said
    assert group.pids() == pids

    os.kill(pids["cpu.1"], SIGSTOP)
    group.send(SIGTERM)
    assert group.ended() == 128 + SIGKILL
    assert f"cpu.1@{HOST} does not end: it is killed" in group.said


@pytest.fixture
def lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that names the cards which are lost; a card and one in a slice are listed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\ncat <<END\n{LISTING}END\n")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    lost = tmp_path / "lost"
    lost.touch()
    monkeypatch.setenv("LOST_CARDS", str(lost))
    return lost


def test_a_card_that_is_lost_again_is_left_out(
    start: Start, workers: Workers, client: Client, lost: Path
) -> None:
    workers.configure(SCRIPTED_MODELS.replace("ScriptedEngine", "LostDeviceEngine"))
    lost.write_text(f"{CARDS[1]}\n")
    group = start("--devices", "all", "--per-device", "2")
    group.wait_said(f"gpu1.1@{HOST} ended with exit code 75 and is started again in 1 s")
    group.wait_said(f"gpu1 ({CARDS[1]}) is lost again, and so unhealthy: it is left out")
    pids = group.wait_ready(2)
    wait_for(lambda: len(group.processes()) == 2)
    assert set(pids) == {"gpu0.1", "gpu0.2"}
    for pid in pids.values():
        assert psutil.Process(pid).environ()["CUDA_VISIBLE_DEVICES"] == CARDS[0]

    lost.write_text("\n".join(CARDS))
    client.submit_text("scripted", "hello")
    assert group.ended() == exit_codes.DEVICE_LOST
    assert "it is left out with its workers; none is left" in group.said


def test_it_ends_with_its_terminal(workers: Workers) -> None:
    ours, theirs = os.openpty()
    with inheriting(signal.SIG_DFL):
        started = subprocess.Popen(
            ["setsid", "--ctty", sys.executable, "-m", "labelmill", "worker", "--devices", "cpu"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=workers.folder,
            env=workers.environment(),
        )
    with started as process:
        os.close(theirs)
        said = b""
        while b"ready." not in said:
            said += os.read(ours, 10_000)
        os.close(ours)
        assert process.wait() == 0
