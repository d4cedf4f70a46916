"""The images: that they can be built from this tree, and run as nobody special."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

IMAGES = ("client", "worker")


@pytest.fixture(scope="module")
def pyproject(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


def copied(stages: dict[str, Any]) -> set[str]:
    """What the Dockerfile takes from the tree."""
    copies = [arguments.split()[:-1] for arguments in stages["wheel"].all("COPY")]
    mounts = [
        re.findall(r"--mount=type=bind,source=([^,]+)", arguments)
        for image in IMAGES
        for arguments in stages[image].all("RUN")
    ]
    return {path for paths in copies + mounts for path in paths}


def test_what_it_takes_exists(root: Path, stages: dict[str, Any]) -> None:
    missing = [path for path in copied(stages) if not (root / path).exists()]

    assert not missing


def test_the_context_has_that_and_no_more(root: Path, stages: dict[str, Any]) -> None:
    lines = (root / ".dockerignore").read_text().splitlines()

    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == copied(stages)


def test_every_package_is_taken(stages: dict[str, Any], pyproject: dict[str, Any]) -> None:
    packages = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    folders = {package.partition("/")[0] for package in packages}
    project = pyproject["project"]

    assert {*folders, project["readme"], *project["license-files"]} < copied(stages)


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_is_not_root_s(image: str, stages: dict[str, Any]) -> None:
    assert stages[image].parent == "base"
    assert stages[image].instructions[-1] == ("USER", "10001:10001")
    assert "--uid 10001" in " ".join(stages["base"].all("RUN"))


def test_the_entry_point_is_the_command(stages: dict[str, Any], pyproject: dict[str, Any]) -> None:
    assert stages["base"].all("ENTRYPOINT") == ['["labelmill"]']
    assert "labelmill" in pyproject["project"]["scripts"]


@pytest.mark.parametrize("image", IMAGES)
def test_the_extras_exist(image: str, stages: dict[str, Any], pyproject: dict[str, Any]) -> None:
    (extras,) = re.findall(r"\.whl\)\[([\w,]+)\]", stages[image].all("RUN")[-1])

    assert set(extras.split(",")) <= set(pyproject["project"]["optional-dependencies"])
    assert ("worker" in extras.split(",")) == (image == "worker")


def test_every_install_is_constrained(stages: dict[str, Any]) -> None:
    for stage in stages.values():
        for command in stage.all("RUN"):
            installs = re.findall(r"pip install", command)
            assert len(re.findall(r"pip install --constraint", command)) == len(installs)


def test_the_constraints_fit_any_build_of_torch(root: Path) -> None:
    """A pin such as 2.7.0+cpu could be installed from one index only."""
    for line in (root / "constraints.txt").read_text().splitlines():
        requirement = line.partition("#")[0].strip()
        assert not requirement or re.fullmatch(r"[\w.-]+==[\w.!]+", requirement), line


def test_python_is_one_that_labelmill_runs_on(
    stages: dict[str, Any], pyproject: dict[str, Any]
) -> None:
    image, version = re.fullmatch(r"(python):(3\.\d+)-slim", stages["python"].parent).groups()

    assert image == "python"
    assert f"Programming Language :: Python :: {version}" in pyproject["project"]["classifiers"]
