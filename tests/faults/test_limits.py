"""Disks that are full or cannot be written, too little memory, accounts without a home."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from labelmill.broker.heartbeat import heartbeat_of
from labelmill.client import Client, NewJob
from labelmill.core.errors import DatabaseUnavailable
from labelmill.db.schema import upgrade
from tests.support.checkpoints import save_text_checkpoint
from tests.support.counting import (
    database_of,
    freeze_results,
    rows_of,
    wait_until_nothing_is_left,
)
from tests.support.limits import NOBODY, as_nobody, can_be_nobody, with_address_space
from tests.support.waiting import wait_for
from tests.support.worker import SCRIPTED_MODELS, WorkerProcess, Workers

MiB = 1024 * 1024

needs_root = pytest.mark.skipif(not can_be_nobody(), reason="only root can be somebody else")


def labelmill(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "labelmill", *words)


def run(
    workers: Workers, *command: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, which must come soon."""
    return subprocess.run(
        command,
        env=workers.environment() | {"COLUMNS": "1000"},
        cwd=cwd or workers.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def waits_for_database(workers: Workers, worker: WorkerProcess) -> bool:
    with workers.broker() as broker:
        beat = heartbeat_of(broker, worker.name)
    return beat is not None and beat["waiting_for"] == "database"


def submit(client: Client, number: int) -> list[str]:
    return client.submit_many("scripted", [NewJob(text=f"pause {i}") for i in range(number)]).ids


# Disks


def test_a_file_that_may_not_grow(workers: Workers, tmp_path: Path) -> None:
    """As under a quota: what it holds can be read, and nothing more be written."""
    worker = workers.start()
    with workers.client() as client, workers.broker() as broker:
        freeze_results(database_of(client))
        client.wait(first := client.submit_text("scripted", "first"))
        _, most = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
        log = Path(f"{workers.database_url.removeprefix('sqlite:///')}-wal")
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (log.stat().st_size, most))
        jobs = [NewJob(text=f"count {tmp_path / f'count{i}'}") for i in range(50)]
        ids = client.submit_many("scripted", jobs).ids
        wait_for(lambda: waits_for_database(workers, worker))
        assert database_of(client).results.get_many(ids) == {}
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (most, most))
        rows = rows_of(client, [first, *ids])
        wait_until_nothing_is_left(broker)
        wait_for(lambda: not waits_for_database(workers, worker))
    assert worker.process.poll() is None
    assert {(row.status, row.attempt) for row in rows} == {("succeeded", 1)}
    assert {(tmp_path / f"count{i}").read_bytes() for i in range(50)} == {b"."}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a disk, and not everywhere")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk(workers: Workers, small_disk: Path) -> None:
    workers.database_url = f"sqlite:///{small_disk / 'labelmill.db'}"
    upgrade(workers.database_url)
    worker = workers.start()
    with workers.client() as client, workers.broker() as broker:
        freeze_results(database_of(client))
        client.wait(first := client.submit_text("scripted", "first"))
        held = client.submit_text("scripted", f"hold {small_disk.parent / 'later'}")
        wait_for((small_disk.parent / "later.started").exists)
        fill(small_disk / "filler")
        with pytest.raises(DatabaseUnavailable, match="room on its disk"):
            submit(client, 1000)
        asked = run(workers, *labelmill("submit", "scripted", "--text", "x"))
        assert asked.returncode == 3
        assert "look for room on its disk" in asked.stderr
        (small_disk.parent / "later").touch()
        wait_for(lambda: waits_for_database(workers, worker))
        (small_disk / "filler").unlink()
        rows = rows_of(client, [first, held, *submit(client, 200)])
        wait_until_nothing_is_left(broker)
    assert worker.process.poll() is None
    assert {(row.status, row.attempt) for row in rows} == {("succeeded", 1)}
    workers.stop()


def fill(file: Path) -> None:
    """Write until there is no room for a byte more."""
    with file.open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(b"x" * 4096)


# Accounts


@pytest.fixture
def shared(workers: Workers) -> Iterator[Path]:
    """A folder with a database that any account may write, and with one that none may."""
    # Others cannot enter pytest's own.
    with tempfile.TemporaryDirectory(prefix="labelmill-limits-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for place, mode in (("open", 0o777), ("closed", 0o755)):
            (folder / place).mkdir()
            database = folder / place / "labelmill.db"
            upgrade(f"sqlite:///{database}")
            database.chmod(0o666)
            (folder / place).chmod(mode)
        workers.folder = folder / "open"
        workers.configure()
        yield folder
        workers.stop()


@needs_root
def test_an_account_without_name_and_home(workers: Workers, shared: Path) -> None:
    """Nor may it write where it is run."""
    del workers.settings["LABELMILL_CACHE_DIR"]
    workers.database_url = f"sqlite:///{shared / 'open' / 'labelmill.db'}"
    log = shared / "open" / "w1@test.log"
    worker = workers.start(*as_nobody(*labelmill("worker", "--name", "%n")))
    assert Path(f"/proc/{worker.pid}").stat().st_uid == NOBODY
    text = log.read_text()
    assert "SecurityWarning" not in text
    assert "Traceback" not in text
    asked = run(
        workers, *as_nobody(*labelmill("submit", "scripted", "--text", "x", "--wait")), cwd=shared
    )
    assert (asked.returncode, "x" in asked.stdout) == (0, True), asked.stderr
    health = run(workers, *as_nobody(*labelmill("health", "--name", worker.name)), cwd=shared)
    assert health.stdout.strip() == "alive"
    for words, refusal in (
        (("results", "--output", "r.csv"), "r.csv cannot be written: Permission denied"),
        (("init",), "cannot be written: Permission denied"),
        (("up",), f"{shared / '.labelmill'} cannot be written (Permission denied)"),
    ):
        refused = run(workers, *as_nobody(*labelmill(*words)), cwd=shared)
        assert refused.returncode in (1, 2)
        assert refusal in refused.stderr
        assert "Traceback" not in refused.stderr
    assert worker.terminate() == 0


@needs_root
@pytest.mark.parametrize("command", ["worker", "submit scripted --text x", "status", "db upgrade"])
def test_a_database_that_cannot_be_written(workers: Workers, shared: Path, command: str) -> None:
    workers.database_url = f"sqlite:///{shared / 'closed' / 'labelmill.db'}"
    asked = run(workers, *as_nobody(*labelmill(*command.split())), cwd=shared)
    assert asked.returncode == 3
    assert "error: " in asked.stderr
    assert "this account has to be able to write the file and its folder" in asked.stderr
    assert "Traceback" not in asked.stderr


@needs_root
def test_a_database_that_becomes_read_only_in_use(workers: Workers, shared: Path) -> None:
    """Who has it open goes on; who opens it waits, or is told; nothing is lost."""
    workers.database_url = f"sqlite:///{shared / 'open' / 'labelmill.db'}"
    worker = workers.start(*as_nobody(*labelmill("worker", "--name", "%n")))
    with workers.client() as client, workers.broker() as broker:
        freeze_results(database_of(client))
        client.wait(first := client.submit_text("scripted", "first"))
        for file in (shared / "open").glob("labelmill.db*"):
            file.chmod(0o444)
        (shared / "open").chmod(0o555)
        ids = submit(client, 50)
        asked = run(workers, *as_nobody(*labelmill("submit", "scripted", "--text", "x")))
        assert (asked.returncode, "this account has to" in asked.stderr) == (3, True)
        for file in (shared / "open").glob("labelmill.db*"):
            file.chmod(0o666)
        (shared / "open").chmod(0o777)
        rows = rows_of(client, [first, *ids])
        wait_until_nothing_is_left(broker)
    assert worker.process.poll() is None
    assert {(row.status, row.attempt) for row in rows} == {("succeeded", 1)}


# Memory


def test_a_job_that_does_not_fit_fails_alone(workers: Workers) -> None:
    limit = 2048 * MiB
    worker = workers.start(*with_address_space(limit, *labelmill("worker", "--name", "%n")))
    with workers.client() as client, workers.broker() as broker:
        texts = [f"fill {limit}" if i == 7 else f"t{i}" for i in range(20)]
        ids = client.submit_many("scripted", [NewJob(text=each) for each in texts]).ids
        rows = rows_of(client, ids)
        wait_until_nothing_is_left(broker)
    assert worker.process.poll() is None
    failed = [(row.id, row.error_code) for row in rows if row.status == "failed"]
    assert failed == [(ids[7], "out_of_memory")]


def test_too_little_memory_for_torch_is_one_line(workers: Workers) -> None:
    save_text_checkpoint(workers.folder / "texts", "bert")
    workers.configure('[models.texts]\ntask = "text-classification"\ncheckpoint = "texts"\n')
    ended = run(workers, *with_address_space(400 * MiB, *labelmill("worker")))
    assert ended.returncode == 1
    assert "too little memory for texts" in ended.stderr.strip().splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_too_little_memory_for_threads_is_one_line(workers: Workers) -> None:
    workers.configure(SCRIPTED_MODELS.replace("Scripted", "Starved"))
    ended = run(workers, *labelmill("worker"))
    assert ended.returncode == 1
    assert "too little memory for the worker's threads" in ended.stderr
    assert "Traceback" not in ended.stderr
