"""Command lines in one process, for what a command says and not how it starts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

SCRIPT = Path(__file__).parents[1] / "acceptance" / "installation" / "inside" / "commands.py"


class Outcome(NamedTuple):
    """How a command ended, and what it printed, errors included."""

    code: int
    said: str


def together(
    folder: Path, environment: Mapping[str, str], lines: Sequence[Sequence[str]]
) -> list[Outcome]:
    """Run the command lines of ``labelmill`` one after the other, in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.read_text()],
        cwd=folder,
        env={**environment, "ASKED": json.dumps(lines)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Outcome(*each) for each in json.loads(done.stdout.splitlines()[-1])]
