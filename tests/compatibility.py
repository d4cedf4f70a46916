"""The compatibility of two versions that meet in one Redis and one database.

    python -m tests.compatibility
    python -m tests.compatibility --base v0.2.0 -k recovery

The base is the last tag; without one, the commit that gave this version its number. The oldest
that can be one is that which named the rooms: its migrations lie where this tree's do.

First the base's own tests run its own code on a database that this tree's migrations have made: old
workers and old producers on the new schema. Then this tree's tests run against workers of the base:
new producers beside old workers. All other words go to pytest.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.worker import OTHER_VERSION

ROOT = Path(__file__).parents[1]
ROOMS = ("core", "db", "producer", "worker", "app", "bench")
MIGRATIONS = Path("db/labelmill/db/migrations/versions")

#: What runs with the base's code on the new schema, as far as the base has it.
OLD = (
    "tests/acceptance/test_cli.py",
    "tests/acceptance/test_export.py",
    "tests/acceptance/test_submit.py",
    "tests/integration/client",
    "tests/integration/recovery",
    "tests/integration/worker/test_worker.py",
    "tests/integration/worker/test_duplicates.py",
    "tests/faults/test_kills.py",
)
#: What runs with this tree's code and the base's workers.
NEW = (
    "tests/integration/client/test_backend.py",
    "tests/integration/recovery",
    "tests/integration/worker/test_worker.py",
    "tests/integration/worker/test_duplicates.py",
    "tests/faults/test_kills.py",
    "tests/faults/test_submit_kills.py",
)


def main() -> None:
    """Run both; exit with 1 where a test failed.

    Raises:
        SystemExit: always.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--base", help="a commit; by default the last version")
    given, words = parser.parse_known_args()
    base = given.base or last_version()
    with tempfile.TemporaryDirectory(prefix="labelmill-base-") as folder:
        old = Path(folder) / "tree"
        git("worktree", "add", "--quiet", "--detach", str(old), base)
        try:
            if not (old / MIGRATIONS).is_dir():
                sys.exit(f"{base} is too old: it has no {MIGRATIONS}")
            failed = [
                name
                for name, ended in {
                    f"{base} on the new schema": on_new_schema(old, words),
                    f"new beside workers of {base}": beside_old_workers(old, words),
                }.items()
                if ended
            ]
        finally:
            git("worktree", "remove", "--force", str(old))
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def last_version() -> str:
    """The last tag, or else the commit that last changed the version's number."""
    tag = git("describe", "--tags", "--abbrev=0", check=False)
    return tag or git("log", "-1", "--format=%h", "-G^version = ", "--", "pyproject.toml")


def on_new_schema(old: Path, words: list[str]) -> int:
    """Run the base's tests and code, with this tree's migrations; returns pytest's exit code."""
    shutil.rmtree(old / MIGRATIONS)
    shutil.copytree(ROOT / MIGRATIONS, old / MIGRATIONS)
    return pytest(old, OLD, words, {"PYTHONPATH": path_of(old)})


def beside_old_workers(old: Path, words: list[str]) -> int:
    """Run this tree's tests with the base's workers; returns pytest's exit code."""
    return pytest(ROOT, NEW, words, {OTHER_VERSION: path_of(old)})


def path_of(tree: Path) -> str:
    """A PYTHONPATH by which that tree's rooms come before the installed ones."""
    return os.pathsep.join([str(tree), *(str(tree / room) for room in ROOMS)])


def pytest(tree: Path, tests: tuple[str, ...], words: list[str], settings: dict[str, str]) -> int:
    """Run those of some tests that a tree has."""
    there = [each for each in tests if (tree / each).exists()]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *there, *words]
    return subprocess.run(command, cwd=tree, env=os.environ | settings, check=False).returncode


def git(*words: str, check: bool = True) -> str:
    """Run git in this tree; returns what it said."""
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=check)
    return done.stdout.strip()


if __name__ == "__main__":
    main()
