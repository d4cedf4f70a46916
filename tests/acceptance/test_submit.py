"""What a person sees of a submission: on a terminal, in a pipe, in a log file, and when it ends."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis

from tests.support.waiting import wait_for
from tests.support.worker import ROOT


@pytest.fixture
def environment(redis_url: str, sqlite_url: str, tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if "LABELMILL" not in name}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "80",
        "TERM": "xterm",
        "LABELMILL_BROKER_URL": redis_url,
        "LABELMILL_DATABASE_URL": sqlite_url,
    }


@pytest.fixture
def broker(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as broker:
        yield broker


def table(folder: Path, rows: int) -> Path:
    file = folder / "messages.csv"
    file.write_text("text\n" + "".join(f"row {number}\n" for number in range(rows)))
    return file


def command(file: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "labelmill", "submit", "q", str(file), *options]


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """The process does not outlive the block, whatever fails in it."""
    try:
        yield
    finally:
        process.kill()


def run(
    environment: dict[str, str], folder: Path, *words: str, code: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == code, done.stderr
    return done


def test_in_a_pipe_the_run_is_data_and_the_rest_has_no_control_codes(
    environment: dict[str, str], tmp_path: Path
) -> None:
    done = run(environment, tmp_path, *command(table(tmp_path, 3), "--run", "r"))
    assert done.stdout == "r\n"
    assert "3 submitted, 0 submitted before, 0 rejected" in done.stderr
    assert "\x1b" not in done.stderr


def test_for_scripts_there_is_one_object(environment: dict[str, str], tmp_path: Path) -> None:
    done = run(environment, tmp_path, *command(table(tmp_path, 3), "--run", "r", "--json"))
    [line] = done.stdout.splitlines()
    said = json.loads(line)
    assert (said["run"], said["sent"], said["state"]) == ("r", 3, "done")


def test_on_a_terminal_there_is_a_bar_and_ctrl_c_says_how_to_go_on(
    environment: dict[str, str], tmp_path: Path, broker: redis.Redis
) -> None:
    mine, theirs = pty.openpty()
    with subprocess.Popen(
        command(table(tmp_path, 3000), "--run", "r", "--max-waiting", "1000"),
        cwd=tmp_path, env=environment, stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        os.set_blocking(mine, False)
        seen = ""

        def look() -> bool:
            nonlocal seen
            with suppress(OSError):  # nothing yet, or it has ended
                seen += os.read(mine, 65536).decode()
            return "waiting: " in seen

        with ended(process):
            wait_for(look, 60)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
        look()
    os.close(mine)
    assert "submitting" in seen
    assert "labelmill submit --resume r" in seen
    assert broker.llen("q") <= 1000
