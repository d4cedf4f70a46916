"""Results on a terminal, in a pipe and in a file, as a person gets them."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from labelmill.db.database import Database
from tests.support.rows import a_job, a_result

NOW = datetime(2026, 5, 17, 12, tzinfo=UTC)
COUNT = 3000


@pytest.fixture(scope="module")
def folder(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database of one run's results."""
    folder = tmp_path_factory.mktemp("export")
    shutil.copy(migrated_sqlite, folder / "labelmill.db")
    with Database.open(f"sqlite:///{folder / 'labelmill.db'}") as database:
        database.results.write(
            [
                a_result(
                    f"job-{number:04}",
                    run_id="r",
                    checkpoint=None,
                    revision=None,
                    label="cat" if number % 3 else "dog",
                    score=0.9,
                    scores=[],
                    finished_at=NOW + timedelta(seconds=number),
                )
                for number in range(COUNT)
            ]
        )
        database.jobs.add(
            [
                a_job(f"job-{number:04}", run_id="r", payload=payload)
                for number, payload in (
                    (COUNT - 1, {"text": "The parcel that I ordered never came."}),
                    (COUNT - 2, {"image": {"base64": "AAAA"}}),
                )
            ]
        )
    (folder / "truth.csv").write_text(
        "job,right\n" + "".join(f"job-{n:04},{'cat' if n % 2 else 'dog'}\n" for n in range(100))
    )
    return folder


def environment(folder: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if "LABELMILL" not in name}
    url = f"sqlite:///{folder / 'labelmill.db'}"
    return kept | {"LABELMILL_DATABASE_URL": url} | more


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "labelmill", *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_terminal_of_80_columns_shows_inputs(folder: Path) -> None:
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "labelmill", "results", "--limit", "2"],
        cwd=folder,
        env=environment(folder, TERM="xterm"),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    output = b""
    try:
        while part := os.read(main, 4096):
            output += part
    except OSError:  # the other side has closed it
        pass
    assert process.wait() == 0
    shown = output.decode()
    assert "The parcel that I ordered" in shown
    assert "inline image" in shown
    assert f"job-{COUNT - 2:04}" in shown
    assert f"job-{COUNT - 3:04}" not in shown


def test_a_pipe_gets_csv_and_only_data(folder: Path) -> None:
    done = run(folder, "results", "--run", "r", "--label", "dog")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == COUNT // 3
    assert done.stderr == ""


def test_a_limit_is_kept_without_a_terminal(folder: Path) -> None:
    for option in ("--csv", "--json"):
        lines = run(folder, "results", option, "--limit", "3").stdout.splitlines()
        assert len(lines) == 3 + (option == "--csv")
        assert f"job-{COUNT - 1:04}" in lines[option == "--csv"]


def test_a_closed_pipe_ends_it_quietly(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "labelmill", "results", "--json"],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0
    process.stderr.close()


def test_files_and_reports_are_written_whole(folder: Path) -> None:
    done = run(folder, "results", "--run", "r", "-o", "out.parquet")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr.endswith("3,000 rows written\n")
    assert run(folder, "results", "--run", "r", "-o", "out.html").returncode == 0
    assert "<title>Run r" in (folder / "out.html").read_text()
    assert run(folder, "results", "-o", "out.doc").returncode == 2
    assert not list(folder.glob(".*partial"))


def test_an_evaluation_as_json_and_picture(folder: Path) -> None:
    done = run(
        folder, "evaluate", "--truth-file", "truth.csv", "--id-column", "job", "--truth", "right",
        "--format", "json", "-o", "confusion.svg",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["answered"] == 100
    expected = sum((n % 3 != 0) == (n % 2 == 1) for n in range(100)) / 100
    assert figures["metrics"]["accuracy"] == expected
    assert (folder / "confusion.svg").read_text().startswith("<svg")


def test_an_evaluation_of_other_names_warns(folder: Path) -> None:
    (folder / "other.csv").write_text("job,right\njob-0001,feline\n")
    done = run(
        folder, "evaluate", "--truth-file", "other.csv", "--id-column", "job", "--truth", "right"
    )
    assert "no truth is a label that the model gave" in done.stderr
    assert "accuracy 0.0000 of 1 rows" in done.stdout
