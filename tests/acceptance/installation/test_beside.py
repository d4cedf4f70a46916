"""In a user's folder that has our names, everything works, and the names stay the user's."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from labelmill.cli.main import COMMANDS
from labelmill.local.process import free_port
from labelmill.local.redis import RedisServer
from tests.acceptance.installation import neighbours
from tests.acceptance.installation.built import ROOT, Built, Installation
from tests.acceptance.installation.neighbours import DJANGO, FORMER
from tests.acceptance.installation.terminal import Running, Terminal
from tests.support.waiting import wait_for

REFERENCE = (ROOT / "docs" / "reference" / "cli.md").read_text()
DOCUMENTED = re.findall(r"^\| `(labelmill [a-z ]*[a-z])", REFERENCE, re.MULTILINE)
NODE = f"beside@{os.uname().nodename}"

# What is carried out in each folder, and what it then says.
LINES = {
    "labelmill init new": "wrote new/models.toml",
    "labelmill db upgrade": "nothing to do",
    "labelmill db current": "this version needs",
    "labelmill submit topics samples/topics.csv --run r --wait": "168 succeeded, 0 failed",
    "labelmill submit --resume r": "0 submitted, 168 submitted before",
    "labelmill submit digits --image samples/digits/digit-0001.png --wait": '"succeeded"',
    "labelmill status": "168/168",
    "labelmill results --run r --json": '"label": "billing"',
    "labelmill results --run r --output labels.csv": "168 rows written",
    "labelmill results --run r --output labels.parquet": "168 rows written",
    "labelmill results --run r --output report.html": "",
    "labelmill evaluate r --truth label --output confusion.svg": "accuracy",
    "labelmill health": "alive",
    "labelmill reconcile": "sent 0 again",
    "labelmill dead list": "no dead letters",
    "labelmill dead replay --all": "",
    "labelmill dead drop --all": "",
    "labelmill webhook --given-up": "",
    "labelmill token create web-app --scope read": "lm_",
    "labelmill token list": "web-app",
}


@dataclass
class Folder:
    """A user's folder, in which Celery's own command runs a worker, and ours the gateway.

    Attributes:
        names: the names on our side that the user has, too.
        gateway: where it is.
    """

    terminal: Terminal
    names: set[str]
    worker: Running
    gateway: str


KINDS: dict[str, Callable[[Path, set[str]], None]] = {
    "modules": neighbours.modules,
    "packages": neighbours.packages,
    "namespaces": neighbours.namespaces,
}


@pytest.fixture(scope="module", params=[*KINDS, "django"])
def folder(
    request: pytest.FixtureRequest,
    installation: Installation,
    wheels: Built,
    django_project: Path,
    redis_server: RedisServer,
    migrated_sqlite: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Folder]:
    path = tmp_path_factory.mktemp(request.param)
    number = [*KINDS, "django"].index(request.param) + 1
    variables = {
        "LABELMILL_BROKER_URL": re.sub(r"/\d+$", f"/{number}", redis_server.url),
        "LABELMILL_DATABASE_URL": f"sqlite:///{shutil.copy(migrated_sqlite, path / 'jobs.db')}",
        "LABELMILL_IMAGE_ROOT": str(path),
    }
    terminal = Terminal(installation.programs, path, variables)
    if request.param == "django":
        names = {"db", "worker"}
        terminal.python = ("python", "manage.py", "shell")
        variables["DJANGO_SETTINGS_MODULE"] = f"{DJANGO}.settings"
        shutil.copytree(django_project, path, dirs_exist_ok=True)
    else:
        names = FORMER | wheels.rooms()
        KINDS[request.param](path, names)
    # Beside the folders that ``init`` makes, and one that somebody has called after us.
    if request.param == "modules":
        names |= {"models", "samples"}
        neighbours.modules(path, {"models", "samples"})
    if request.param == "namespaces":
        neighbours.namespaces(path, {"labelmill"})
    terminal.run("labelmill", "init")
    celery = ("celery", "-A", "labelmill.worker", "worker", "-n", "beside@%h", "-l", "info")
    port = str(free_port())
    serve = ("labelmill", "serve", "--port", port)
    with (
        terminal.running(*celery, "-Q", "topics,digits", log=path / "celery.log") as worker,
        terminal.running(*serve, log=path / "serve.log"),
    ):
        worker.says("ready.")
        yield Folder(terminal, names, worker, f"http://127.0.0.1:{port}")


def test_django_gives_an_app_our_former_names(django_project: Path) -> None:
    """``startapp`` refuses the name of whatever can be imported."""
    assert all((django_project / name / "models.py").exists() for name in ("db", "worker"))


def test_the_client_is_ours_and_all_other_names_are_the_user_s(
    folder: Folder, wheels: Built, installation: Installation
) -> None:
    rooms = sorted(wheels.rooms())
    asked = {"rooms": rooms, "names": sorted(folder.names), "packages": str(installation.packages)}
    assert folder.terminal.inside("client.py", asked) == ["delivery", NODE]


def test_every_documented_command_works(folder: Folder) -> None:
    commands = {*DOCUMENTED, *(f"labelmill {name}" for name in COMMANDS)}
    assert len(commands) >= 20
    expected = {f"{command} --help": f"Usage: {command} " for command in commands} | LINES
    for line, said in zip(expected, folder.terminal.labelmill(*expected), strict=True):
        assert expected[line] in said, line
    assert (folder.terminal.folder / "labels.csv").read_text().count("succeeded") == 168


def test_the_command_is_found_by_python_too(folder: Folder) -> None:
    words = ("submit", "topics", "--text", "Where is my parcel?", "--wait")
    row = json.loads(folder.terminal.run("python", "-m", "labelmill", *words))
    assert (row["status"], row["label"], row["worker"]) == ("succeeded", "delivery", NODE)


def test_the_gateway_answers(folder: Folder) -> None:
    with httpx.Client(base_url=folder.gateway) as browser:

        def is_ready() -> bool:
            with suppress(httpx.TransportError):
                return browser.get("/readyz").status_code == 200
            return False

        wait_for(is_ready)
        assert "<title>" in browser.get("/").text


def test_celery_s_worker_answers_and_ends_when_it_is_told(folder: Folder) -> None:
    celery = ("celery", "-A", "labelmill.worker")
    assert "pong" in folder.terminal.run(*celery, "inspect", "ping", "-d", NODE)
    log = folder.terminal.folder / "beat.log"
    with folder.terminal.running(*celery, "beat", "-l", "info", log=log) as beat:
        beat.says("beat: Starting")
    assert folder.worker.end() == 0, folder.worker.log.read_text()


def test_the_demo_runs(installation: Installation, wheels: Built, tmp_path: Path) -> None:
    terminal = Terminal(installation.programs, tmp_path)
    neighbours.files(tmp_path, FORMER | wheels.rooms())
    assert "Try next" in terminal.run("labelmill", "demo")
