"""``make demo``'s command, as a newcomer runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert accuracy(done.stdout, "topics") >= 85
    assert accuracy(done.stdout, "digits") >= 95
    assert "jobs/s" in done.stdout
    assert "Try next" in done.stdout
    assert list(tmp_path.iterdir()) == []


def accuracy(output: str, model: str) -> float:
    """The accuracy that is shown, once every job is seen to have a row and none failed."""
    found = re.search(SUMMARY.format(model=model), output)
    assert found, output
    jobs, rows, failed, share = found.groups()
    assert int(jobs) == int(rows) >= 150
    assert int(failed) == 0
    return float(share)
