"""What the wheels have in them, and what they have not."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from importlib.metadata import packages_distributions
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.acceptance.installation.built import (
    Built,
    Distribution,
    sdist_files,
    wheels_of_sdists,
)
from tests.acceptance.installation.neighbours import FORMER


@pytest.fixture(params=["light", "bench"])
def each(request: pytest.FixtureRequest, wheels: Built) -> Distribution:
    distribution: Distribution = getattr(wheels, request.param)
    return distribution


def metadata(distribution: Distribution) -> Message:
    [name] = [name for name in distribution.files() if name.endswith(".dist-info/METADATA")]
    with ZipFile(distribution.wheel) as archive:
        return Parser().parsestr(archive.read(name).decode())


def sources(distribution: Distribution) -> Iterator[tuple[str, ast.Module]]:
    with ZipFile(distribution.wheel) as archive:
        for name in archive.namelist():
            if name.endswith(".py"):
                yield name, ast.parse(archive.read(name))


def imported(module: ast.Module) -> Iterator[str]:
    """The first words of what a module imports by a whole name."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


def test_one_import_name_is_added(each: Distribution) -> None:
    added = {name.partition("/")[0] for name in each.files()}
    assert {name for name in added if not name.endswith(".dist-info")} == {"labelmill"}
    assert len(added) == 2


def test_labelmill_belongs_to_neither(wheels: Built) -> None:
    """An ``__init__.py`` in it would hide what the other distribution has there."""
    assert {name for name in wheels.light.files() if re.fullmatch("labelmill/[^/]+", name)} == {
        "labelmill/__main__.py"
    }
    assert not [name for name in wheels.bench.files() if re.fullmatch("labelmill/[^/]+", name)]


def test_no_file_is_in_both(wheels: Built) -> None:
    assert not wheels.light.files() & wheels.bench.files()


def test_every_file_of_the_tree_is_there(each: Distribution) -> None:
    assert {name for name in each.files() if ".dist-info/" not in name} == each.in_the_tree()


def test_so_are_those_that_are_no_modules(wheels: Built) -> None:
    kinds = {Path(name).suffix for name in wheels.light.files()}
    assert kinds >= {".lua", ".html", ".js", ".css", ".svg", ".j2", ".mako", ".ini", ".typed"}
    kinds = {Path(name).suffix for name in wheels.bench.files()}
    assert kinds >= {".safetensors", ".json", ".toml", ".csv", ".png", ".typed"}


def test_every_room_is_typed(wheels: Built) -> None:
    files = wheels.light.files() | wheels.bench.files()
    assert {name for name in files if name.endswith("py.typed")} == {
        f"labelmill/{room}/py.typed" for room in wheels.rooms()
    }


def test_the_licence_comes_along(each: Distribution) -> None:
    [licence] = [name for name in each.files() if name.endswith("LICENSE")]
    assert re.fullmatch(r"[^/]+\.dist-info/licenses/LICENSE", licence)


def test_the_two_are_of_one_version_and_name_each_other(wheels: Built) -> None:
    light, bench = metadata(wheels.light), metadata(wheels.bench)
    version = light["Version"]
    assert bench["Version"] == version
    assert bench.get_all("Requires-Dist") == [f"labelmill=={version}"]
    named = {line for line in light.get_all("Requires-Dist", []) if "labelmill-bench" in line}
    assert named == {
        f"labelmill-bench=={version}; extra == '{extra}'" for extra in ("demo", "bench")
    }


def test_the_light_one_is_small_and_measures_nothing(wheels: Built) -> None:
    assert wheels.light.wheel.stat().st_size < 600_000
    assert not [name for name in wheels.light.files() if re.match("labelmill/(bench|demo)/", name)]


def test_nothing_is_imported_by_a_name_that_a_user_may_have(each: Distribution) -> None:
    known = {*sys.stdlib_module_names, *packages_distributions(), "ray", "pynvml"} - FORMER | {
        "labelmill"
    }
    strangers = {
        (name, word)
        for name, module in sources(each)
        for word in imported(module)
        if word not in known
    }
    assert not strangers


def test_a_wheel_of_the_sdist_has_the_same_files(wheels: Built, tmp_path: Path) -> None:
    assert wheels_of_sdists(wheels, tmp_path) == {
        each.wheel.name: each.files() for each in (wheels.light, wheels.bench)
    }


def test_the_sdist_has_what_is_built_and_no_more(wheels: Built) -> None:
    tops = {name.partition("/")[0] for name in sdist_files(wheels.light)}
    assert tops - {"PKG-INFO", ".gitignore", ""} == {
        *("app", "core", "db", "producer", "worker"),
        *("CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml"),
    }
