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

import psutil
import pytest
import redis

from labelmill.db.database import Database
from tests.support.waiting import wait_for


@pytest.fixture
def environment(redis_url: str, sqlite_url: str, tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if "LABELMILL" not in name}
    return kept | {
        "COLUMNS": "80",
        "TERM": "xterm",
        "LABELMILL_BROKER_URL": redis_url,
        "LABELMILL_DATABASE_URL": sqlite_url,
    }


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
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False
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
            wait_for(look)
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)  # whoever is in a hurry
            assert process.wait() == 130
        look()
    os.close(mine)
    assert "submitting" in seen
    assert "Traceback" not in seen
    assert "labelmill submit --resume r" in seen
    assert broker.llen("q") <= 1000


def test_a_dry_run_sends_nothing(
    environment: dict[str, str], tmp_path: Path, broker: redis.Redis
) -> None:
    file = table(tmp_path, 3)
    file.write_text(file.read_text() + '"open\n')
    done = run(environment, tmp_path, *command(file, "--dry-run"))
    assert "3 jobs would be sent, 1 rows rejected" in done.stdout
    assert "row 2" in done.stdout
    assert not broker.exists("q")


def test_in_a_log_file_lines_say_what_it_waits_for_and_sigterm_how_to_go_on(
    environment: dict[str, str], tmp_path: Path, broker: redis.Redis
) -> None:
    log = tmp_path / "log"
    file = table(tmp_path, 3000)
    words = command(file, "--run", "r", "--max-waiting", "1000", "--json")
    with (
        log.open("wb") as output,
        subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=output, stderr=output) as p,
        ended(p),
    ):
        wait_for(lambda: "waiting: 1,000 jobs in the queue, no worker" in log.read_text())
        p.terminate()
        assert p.wait() == 130
    text = log.read_text()
    assert "to go on: labelmill submit --resume r" in text
    assert json.loads(text.splitlines()[-1])["state"] == "interrupted"
    assert "\x1b" not in text
    broker.delete("q")
    resume = (sys.executable, "-m", "labelmill", "submit", "--resume", "r")
    assert "2,000 submitted, 1,000 submitted before" in run(environment, tmp_path, *resume).stderr


def test_nothing_to_submit_is_told(environment: dict[str, str], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = run(environment, tmp_path, *command(empty), code=1)
    assert "there is nothing to submit in" in done.stderr


def test_images_outside_of_the_workers_root_are_told_beforehand(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "a.png").touch()
    environment["LABELMILL_IMAGE_ROOT"] = str(tmp_path / "elsewhere")
    done = run(environment, tmp_path, *command(tmp_path), code=2)
    assert "use --upload" in done.stderr
    one = ("submit", "q", "--image", "a.png")
    done = run(environment, tmp_path, sys.executable, "-m", "labelmill", *one, code=2)
    assert "use --upload" in done.stderr
    with Database.open(environment["LABELMILL_DATABASE_URL"]) as database:
        assert database.runs.newest() == []


def test_inputs_that_the_model_does_not_take_are_refused(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "models.toml").write_text(
        '[models.q]\ntask = "image-classification"\ncheckpoint = "."\n'
    )
    (tmp_path / "texts.csv").write_text("text\nhello\n")
    labelmill = (sys.executable, "-m", "labelmill", "submit", "q")
    done = run(environment, tmp_path, *labelmill, "--text", "hello", code=2)
    assert "q takes images: give --image" in done.stderr
    done = run(environment, tmp_path, *labelmill, "texts.csv", code=1)
    assert "has texts, and the model takes images" in done.stderr
    done = run(environment, tmp_path, *labelmill, "texts.csv", "--text-column", "text", code=1)
    assert "the model takes images, not texts" in done.stderr


def test_memory_stays_flat(environment: dict[str, str], tmp_path: Path) -> None:
    """Four times the rows take no more of it than what a few blocks of them do."""
    words = [sys.executable, "-m", "labelmill", "submit", "q", "-", "--format", "lines"]
    with subprocess.Popen(
        [*words, "--max-waiting", "1000000", "--progress", "none"],
        cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process, ended(process):  # fmt: skip
        assert process.stdin is not None
        sizes = []
        for block in range(8):
            # The pipe is short: of what was written, all but the last blocks is submitted.
            process.stdin.writelines(b"%d of %d\n" % (row, block) for row in range(8_000))
            process.stdin.flush()
            sizes.append(psutil.Process(process.pid).memory_info().rss)
        process.stdin.close()
        assert process.wait() == 0
    assert sizes[-1] - sizes[1] < 12 * 2**20


def shell(environment: dict[str, str], folder: Path, line: str, code: int = 0) -> str:
    """What is said on standard error by a line of bash, in which ``submit`` is the command."""
    start = f'submit() {{ "{sys.executable}" -m labelmill submit "$@"; }}; set -o pipefail; '
    return run(environment, folder, "bash", "-c", start + line, code=code).stderr


def test_pipes_of_a_shell_are_read_once_and_a_closed_one_ends_nothing(
    environment: dict[str, str], tmp_path: Path, broker: redis.Redis
) -> None:
    table(tmp_path, 3)
    said = shell(environment, tmp_path, "submit q <(cat messages.csv) --format csv --run r | true")
    assert "3 submitted, 0 submitted before, 0 rejected" in said
    assert broker.llen("q") == 3


def test_closed_input_and_a_full_disk_are_told_in_a_line(
    environment: dict[str, str], tmp_path: Path
) -> None:
    said = shell(environment, tmp_path, "submit q - --format lines <&-", code=1)
    assert "standard input is closed" in said
    assert "Traceback" not in said
    file = table(tmp_path, 3)
    file.write_text(file.read_text() + '"open\n')
    said = shell(environment, tmp_path, "submit q messages.csv --rejects /dev/full", code=2)
    assert "/dev/full cannot be written: No space left on device" in said
