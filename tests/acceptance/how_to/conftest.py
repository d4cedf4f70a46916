"""One Labelmill for all how-tos, and each of them carried out in a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "how-to"

_FILE = re.compile(r"`([\w/]+\.py)`:\n\n```python\n(.*?)```", re.DOTALL)
_CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)


def environment() -> dict[str, str]:
    """That of a shell in which the virtual environment is active, with nothing of ours set."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LABELMILL_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return kept | {"PATH": path, "PYTHONWARNINGS": "default"}


def console(page: str) -> list[str]:
    """The commands of a page's blocks, each block one string."""
    return _CONSOLE.findall((PAGES / page).read_text())


@dataclass
class Project:
    """The folder of one who follows a how-to, with its files.

    Attributes:
        page: the page's name.
    """

    page: str
    folder: Path

    def shell(self, commands: str) -> str:
        """Run commands as they stand in the page; returns what they print."""
        done = subprocess.run(
            ["bash", "-ec", commands],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def running(self, commands: str) -> Iterator[subprocess.Popen[bytes]]:
        """A block whose last command runs until it is ended."""
        log = self.folder / "server.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                ["bash", "-ec", commands],
                cwd=self.folder,
                env=environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @contextmanager
    def serving(self, commands: str) -> Iterator[httpx.Client]:
        """A block that serves at port 8000, at another; a browser of it."""
        port = free_port()
        with (
            self.running(commands.replace("8000", str(port))) as process,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", follow_redirects=True) as browser,
        ):

            def answers() -> bool:
                assert process.poll() is None, (self.folder / "server.log").read_text()
                try:
                    return browser.get("/").status_code == 200
                except httpx.TransportError:
                    return False

            wait_for(answers)
            yield browser


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="package")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which ``labelmill up`` runs, on the models that came with the package."""
    project = Project("fastapi.md", tmp_path_factory.mktemp("up"))
    project.shell("labelmill init")
    with project.running("exec labelmill up") as process:

        def is_up() -> bool:
            log = (project.folder / "server.log").read_text()
            assert process.poll() is None, log
            return "labelmill is up" in log

        wait_for(is_up, 120)
        yield project.folder
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@pytest.fixture
def follow(up: Path, tmp_path: Path) -> Callable[[str], Project]:
    """Write a page's files into an empty folder, which knows where the session's Labelmill is."""

    def follow(page: str) -> Project:
        project = Project(page, tmp_path)
        (tmp_path / ".labelmill").mkdir()
        shutil.copy(up / ".labelmill" / "env", tmp_path / ".labelmill" / "env")
        for name, content in _FILE.findall((PAGES / page).read_text()):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        return project

    return follow
