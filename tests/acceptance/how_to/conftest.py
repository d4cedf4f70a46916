"""One Labelmill for all how-tos, and each of them carried out in a folder of its own.

They have the installation of the wheels, and the folders have neighbours under our names.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from labelmill.local.process import free_port
from tests.acceptance.installation import neighbours
from tests.acceptance.installation.built import Built, Installation
from tests.acceptance.installation.conftest import django_project as django_project
from tests.acceptance.installation.conftest import installation as installation
from tests.acceptance.installation.conftest import wheels as wheels
from tests.acceptance.installation.neighbours import FORMER
from tests.acceptance.installation.terminal import Running, Terminal
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "how-to"

_FILE = re.compile(r"`([\w/]+\.py)`:\n\n```python\n(.*?)```", re.DOTALL)


def blocks(page: str, language: str = "console", folder: Path = PAGES) -> list[str]:
    """A page's blocks, each one string."""
    return re.findall(rf"```{language}\n(.*?)```", (folder / page).read_text(), re.DOTALL)


@dataclass
class Project:
    """The folder of one who follows a how-to, with its files."""

    terminal: Terminal

    @property
    def folder(self) -> Path:
        return self.terminal.folder

    def shell(self, commands: str) -> str:
        """Run commands as they stand in the page; returns what they print."""
        return self.terminal.run("bash", "-ec", commands)

    def running(self, commands: str) -> AbstractContextManager[Running]:
        """A block whose last command runs until it is ended."""
        return self.terminal.running("bash", "-ec", commands, log=self.folder / "server.log")

    @contextmanager
    def serving(self, commands: str) -> Iterator[httpx.Client]:
        """A block that serves at port 8000, at another; a browser of it."""
        port = free_port()
        with (
            self.running(commands.replace("8000", str(port))) as server,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", follow_redirects=True) as browser,
        ):

            def answers() -> bool:
                assert server.process.poll() is None, server.log.read_text()
                try:
                    return browser.get("/").status_code == 200
                except httpx.TransportError:
                    return False

            wait_for(answers)
            yield browser


@pytest.fixture(scope="package")
def names(wheels: Built) -> set[str]:
    """All names on our side."""
    return FORMER | wheels.rooms()


@pytest.fixture(scope="package")
def up(
    installation: Installation, names: set[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The folder in which ``labelmill up`` runs, on the models that came with the package."""
    terminal = Terminal(installation.programs, tmp_path_factory.mktemp("up"))
    neighbours.files(terminal.folder, names)
    terminal.run("labelmill", "init")
    with terminal.up():
        yield terminal.folder


Follow = Callable[[str], Project]


@pytest.fixture(params=["files", "folders"])
def follow(
    request: pytest.FixtureRequest,
    up: Path,
    installation: Installation,
    names: set[str],
    django_project: Path,
    tmp_path: Path,
) -> Follow:
    """Write a page's files into a folder, which knows where the session's Labelmill is.

    Whatever name the page leaves free, the folder has under it something of the user's.
    """

    def follow(page: str) -> Project:
        files = dict(_FILE.findall((PAGES / page).read_text()))
        free = names - {Path(name).parts[0].removesuffix(".py") for name in files}
        if request.param == "files":
            neighbours.files(tmp_path, free)
        else:
            neighbours.folders(tmp_path, free, django_project)
        (tmp_path / ".labelmill").mkdir()
        shutil.copy(up / ".labelmill" / "env", tmp_path / ".labelmill" / "env")
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        return Project(Terminal(installation.programs, tmp_path))

    return follow
