"""``python -m tests.typecheck``: mypy over every file, and what an app's type checker sees.

Of a namespace mypy may look at a part and say Success: the number of files that it has checked is
held against the number that there are.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Run both.

    Raises:
        SystemExit: one of them found something, or mypy has not seen every file.
    """
    folders = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["files"]
    files = {file for folder in folders for file in (ROOT / folder).rglob("*.py")}
    said = run("mypy")
    checked = re.search(r"no issues found in (\d+) source files", said)
    if checked is None or int(checked[1]) != len(files):
        sys.exit(f"mypy has not checked all of {len(files)} files")
    run("mypy", "tests/typing")
    run("basedpyright")


def run(tool: str, *files: str) -> str:
    """Run a type checker with its settings in pyproject.toml; return what it says."""
    done = subprocess.run(
        [sys.executable, "-m", tool, *files],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    print(done.stdout, end="", flush=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    main()
