"""``make demo``'s command, as a newcomer runs it."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import wait_for

# Each row of the summary: jobs, rows, failed, accuracy.
SUMMARY = r"│ {model} +│ +(\d+) │ +(\d+) │ +(\d+) │ +([\d.]+)% │"


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        ([], {"LABELMILL_EMBEDDED_BINARIES": "wheel"}),
        (["--database", "postgresql", "--workers", "2"], {}),
    ],
    ids=["servers from wheels", "postgresql and two workers"],
)
def test_every_job_is_in_the_table_and_both_models_are_accurate(
    tmp_path: Path, arguments: list[str], environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "labelmill", "demo", *arguments],
        cwd=tmp_path,
        env=os.environ | {"COLUMNS": "120"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert accuracy(done.stdout, "topics") >= 85
    assert accuracy(done.stdout, "digits") >= 95
    assert "jobs/s" in done.stdout
    assert list(tmp_path.iterdir()) == []
    if not arguments:
        assert labels_of_the_next_steps(done.stdout, tmp_path) == {"delivery"}


def labels_of_the_next_steps(output: str, folder: Path) -> set[str]:
    """Do in a plain shell what the demo ends with, and return the labels of the texts."""
    _, steps = output.split("Try next\n")
    here, there = (
        "".join(f"{line}\n" for line in part.splitlines() if line.startswith("  "))
        for part in steps.split("and in another terminal, in the same folder as this one\n")
    )
    with (folder / "up.log").open("wb") as log:
        up = subprocess.Popen(
            ["sh", "-ec", here.replace("  labelmill up", "  exec labelmill up")],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: up.poll() is not None or "is up" in (folder / "up.log").read_text())
        assert up.poll() is None, (folder / "up.log").read_text()
        done = subprocess.run(
            ["sh", "-ec", there], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        up.terminate()
        assert up.wait() == 0
    with sqlite3.connect(folder / "mill" / ".labelmill" / "labelmill.db") as database:
        found = database.execute("SELECT label FROM results WHERE model = 'topics'").fetchall()
        digits = database.execute("SELECT count(*) FROM results WHERE model = 'digits'").fetchone()
    database.close()
    assert digits == (300,)
    return {label for (label,) in found}


def accuracy(output: str, model: str) -> float:
    """The accuracy that is shown, once every job is seen to have a row and none failed."""
    found = re.search(SUMMARY.format(model=model), output)
    assert found, output
    jobs, rows, failed, share = found.groups()
    assert int(jobs) == int(rows) >= 150
    assert int(failed) == 0
    return float(share)
