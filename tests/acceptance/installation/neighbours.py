"""What users have in their folders, under every name that is in use on our side."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tests.acceptance.installation.built import Installation
from tests.acceptance.installation.terminal import Terminal

#: What an installation brought before there was one name, and the folders of a checkout.
FORMER = frozenset({"app", "bench", "core", "db", "demo", "embedded", "producer", "worker"})

#: The name of the Django project; its settings are in it.
DJANGO = "web"

# Whoever imports it by mistake fails; its owner says so before.
_CONTENT = """\
import os

if "THE_OWNER_IMPORTS" not in os.environ:
    raise RuntimeError(f"{__name__} is the user's, and was imported by somebody else")
"""


def modules(folder: Path, names: Iterable[str]) -> None:
    """``db.py``."""
    for name in names:
        (folder / f"{name}.py").write_text(_CONTENT)


def packages(folder: Path, names: Iterable[str]) -> None:
    """``db/__init__.py``."""
    for name in names:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(_CONTENT)


def namespaces(folder: Path, names: Iterable[str]) -> None:
    """``db/models.py``, and no ``__init__.py``."""
    for name in names:
        (folder / name).mkdir()
        (folder / name / "models.py").write_text(_CONTENT)


@cache
def django_project(installation: Installation, temporary: Path) -> Path:
    """A Django project that has the apps ``db`` and ``worker``."""
    terminal = Terminal(installation.programs, temporary / "project")
    terminal.folder.mkdir()
    terminal.run("django-admin", "startproject", DJANGO, ".")
    for name in ("db", "worker"):
        terminal.run("python", "manage.py", "startapp", name)
    with (terminal.folder / DJANGO / "settings.py").open("a") as settings:
        settings.write('INSTALLED_APPS += ["db", "worker"]\n')
    return terminal.folder


def files(folder: Path, names: set[str]) -> None:
    """Modules, and some packages among them."""
    some = names & {"producer", "demo"}
    packages(folder, some)
    modules(folder, names - some)


def folders(folder: Path, names: set[str], project: Path) -> None:
    """A Django project among folders without ``__init__.py``; its app ``db`` has none either."""
    shutil.copytree(project, folder, dirs_exist_ok=True)
    (folder / "db" / "__init__.py").unlink()
    namespaces(folder, names - {"db", "worker"})
