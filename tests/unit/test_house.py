"""The house: one namespace over several folders, and what would end it without a word."""

from __future__ import annotations

import bdb
import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from types import FrameType

import pytest

import labelmill
from labelmill.core import ids

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = PYPROJECT["tool"]["importlinter"]["contracts"]
FOLDERS = ("app", "bench", "core", "db", "producer", "worker")
ROOMS = {
    room.name: room
    for folder in FOLDERS
    for room in (ROOT / folder / "labelmill").iterdir()
    if room.is_dir() and room.name != "__pycache__"
}


def files_of(setting: list[str]) -> set[str]:
    """The top-level folders that a list of paths names."""
    return {path.partition("/")[0] for path in setting} - {"."}


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_ends_the_namespace(folder: str) -> None:
    """An __init__.py here would hide all other folders, and blind mypy to them."""
    modules = {file.name for file in (ROOT / folder / "labelmill").glob("*.py*")}
    assert modules == ({"__main__.py"} if folder == "app" else set())


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_is_importable_by_its_bare_name(folder: str) -> None:
    """An editable installation puts the folder on the path: a celery.py here would hide Celery."""
    assert {file.name for file in (ROOT / folder).glob("*.py")} == (
        {"__init__.py"} if folder == "worker" else set()
    )
    packages = {file.parent.name for file in (ROOT / folder).glob("*/__init__.py")}
    assert packages == set()


def test_labelmill_is_this_checkout_and_nothing_else() -> None:
    """A stale labelmill/ in site-packages would be merged into it silently."""
    assert {Path(path) for path in labelmill.__path__} == {
        ROOT / folder / "labelmill" for folder in FOLDERS
    }
    assert getattr(labelmill, "__file__", None) is None


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_is_a_typed_package_with_a_subject(name: str) -> None:
    room = importlib.import_module(f"labelmill.{name}")
    assert Path(str(room.__file__)) == ROOMS[name] / "__init__.py"
    assert room.__doc__
    assert (ROOMS[name] / "py.typed").is_file()


@pytest.mark.parametrize("folder", [*FOLDERS, "tests"])
def test_a_folder_says_in_ten_lines_what_it_is(folder: str) -> None:
    lines = (ROOT / folder / "README.md").read_text().splitlines()
    assert 5 <= len([line for line in lines if line]) <= 11
    for name, room in ROOMS.items():
        if room.parents[1].name == folder:
            assert any(f"`labelmill.{name}`" in line for line in lines), name


def test_every_list_of_folders_has_them_all() -> None:
    tools = PYPROJECT["tool"]
    assert files_of(tools["mypy"]["files"]) == set(FOLDERS)
    assert files_of(tools["mypy"]["mypy_path"]) == set(FOLDERS)
    assert files_of(tools["pytest"]["ini_options"]["pythonpath"]) == set(FOLDERS)
    assert files_of(tools["ruff"]["src"]) == set(FOLDERS)
    assert files_of(tools["coverage"]["run"]["source_dirs"]) == set(FOLDERS)
    light = set(FOLDERS) - {"bench"}  # a distribution of its own
    assert files_of(tools["hatch"]["build"]["targets"]["wheel"]["packages"]) == light
    assert files_of(tools["hatch"]["build"]["dev-mode-dirs"]) == light


def test_every_room_has_its_floor() -> None:
    [floors] = [each["layers"] for each in CONTRACTS if each["type"] == "layers"]
    rooms = {f"labelmill.{name}" for name in ROOMS}
    assert {room for floor in floors for room in floor.split(" | ")} == rooms
    assert set(PYPROJECT["tool"]["importlinter"]["root_packages"]) == rooms
    [terminal] = [each for each in CONTRACTS if "typer" in each.get("forbidden_modules", ())]
    assert set(terminal["source_modules"]) == rooms - {"labelmill.cli"}


@pytest.mark.parametrize("page", ["README.md", "docs/explanation/architecture.md"])
def test_the_picture_is_that_of_the_floors(page: str) -> None:
    lines = [line.split() for line in (ROOT / page).read_text().splitlines()]
    [floors] = [each["layers"] for each in CONTRACTS if each["type"] == "layers"]
    names = [floor.replace("labelmill.", "").split(" | ") for floor in floors]
    first = lines.index(names[0]) if names[0] in lines else lines.index([*names[0], "app/"])
    drawn = lines[first : first + len(names)]
    assert [line[: len(floor)] for line, floor in zip(drawn, names, strict=True)] == names


def test_no_room_is_a_third_of_the_house() -> None:
    lines = {
        name: sum(
            file.read_bytes().count(b"\n")
            for file in room.rglob("*")
            if file.suffix in {".py", ".lua", ".js", ".css", ".html", ".j2"}
        )
        for name, room in ROOMS.items()
    }
    assert max(lines.values()) < sum(lines.values()) / 3, lines


def test_a_breakpoint_by_path_is_hit() -> None:
    """As editors set them: by the file in the checkout."""
    line = ids.new_id.__code__.co_firstlineno + 2
    file = ROOT / "core" / "labelmill" / "core" / "ids.py"
    stops: list[tuple[str, int]] = []

    class Debugger(bdb.Bdb):
        def user_line(self, frame: FrameType) -> None:
            if self.break_here(frame):
                stops.append((frame.f_code.co_filename, frame.f_lineno))
            self.set_continue()

    debugger = Debugger()
    assert debugger.set_break(str(file), line) is None
    debugger.runcall(ids.new_id)
    assert stops == [(str(file), line)]


def test_coverage_counts_every_file(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("from labelmill.core.ids import new_id; new_id()")
    data = f"--data-file={tmp_path / 'data'}"
    for words in (["run", data, script], ["json", data, "-o", tmp_path / "report.json"]):
        command = [sys.executable, "-m", "coverage", *words]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    found = json.loads((tmp_path / "report.json").read_text())["files"]
    modules = {
        str(file.relative_to(ROOT)) for room in ROOMS.values() for file in room.rglob("*.py")
    }
    assert modules <= set(found)
    assert found["core/labelmill/core/ids.py"]["summary"]["percent_covered"] == 100
