"""The wheels of this tree, and a virtual environment that has them and nothing of the checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[3]

_NAMES = ("labelmill", "labelmill_bench")

# The commands that the pages call, beside ours.
_SCRIPTS = ("celery", "django-admin", "flask", "uvicorn")


@dataclass(frozen=True)
class Distribution:
    """What one pyproject.toml makes.

    Attributes:
        source: its folder.
        roots: the folders that have a part of ``labelmill``.
    """

    source: Path
    roots: tuple[str, ...]
    wheel: Path
    sdist: Path

    def files(self) -> set[str]:
        """The names in its wheel."""
        return _names(self.wheel)

    def in_the_tree(self) -> set[str]:
        """The files of the tree that its wheel is to have, by their names there."""
        roots = [self.source / root for root in self.roots]
        return {
            path.relative_to(root).as_posix()
            for root in roots
            for path in (root / "labelmill").rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }


@dataclass(frozen=True)
class Built:
    """Both distributions: what is installed for all, and the demo with the benchmarks."""

    light: Distribution
    bench: Distribution

    def rooms(self) -> set[str]:
        """The packages directly below ``labelmill``."""
        files = self.light.files() | self.bench.files()
        return {name.split("/")[1] for name in files if name.count("/") > 1} - {"licenses"}


@cache
def built(temporary: Path) -> Built:
    """Build wheels and sdists, without a network."""
    folder = temporary / "dist"
    words = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    for source in (ROOT, ROOT / "bench"):
        _run(*words, cwd=source)
    [light], [bench] = (list(folder.glob(f"{name}-*.whl")) for name in _NAMES)
    [light_sdist], [bench_sdist] = (list(folder.glob(f"{name}-*.tar.gz")) for name in _NAMES)
    roots = ("core", "db", "producer", "worker", "app")
    return Built(
        Distribution(ROOT, roots, light, light_sdist),
        Distribution(ROOT / "bench", (".",), bench, bench_sdist),
    )


def wheels_of_sdists(made: Built, folder: Path) -> dict[str, set[str]]:
    """The files of the wheels that pip builds of the sdists, by the wheels' names."""
    sdists = (str(made.light.sdist), str(made.bench.sdist))
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(folder))
    _pip("wheel", *options, *sdists)
    return {path.name: _names(path) for path in folder.glob("*.whl")}


def sdist_files(distribution: Distribution) -> set[str]:
    """The names in a sdist, below its one folder."""
    with tarfile.open(distribution.sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


@dataclass(frozen=True)
class Installation:
    """A virtual environment with both wheels.

    It borrows all other packages of the environment that runs the tests. A .pth file adds that
    one's site-packages as a plain folder, behind its own: the .pth files in it, by which the
    checkout is installed there, are not read.
    """

    folder: Path

    @property
    def programs(self) -> Path:
        """The folder of its commands."""
        return self.folder / "bin"

    @property
    def packages(self) -> Path:
        """Its own site-packages."""
        return Path(sysconfig.get_path("purelib", "venv", {"base": str(self.folder)}))


@cache
def installed(temporary: Path) -> Installation:
    """Install both wheels."""
    made = built(temporary)
    installation = Installation(temporary / "installation")
    _run(sys.executable, "-m", "venv", "--without-pip", str(installation.folder))
    python = installation.programs / "python"
    wheels = (str(made.light.wheel), str(made.bench.wheel))
    _pip("--python", str(python), "install", "--no-deps", "--no-index", *wheels)
    borrowed = sysconfig.get_path("purelib")
    (installation.packages / "borrowed.pth").write_text(f"{borrowed}\n")
    for name in _SCRIPTS:
        _, _, program = Path(sys.executable).with_name(name).read_text().partition("\n")
        script = installation.programs / name
        script.write_text(f"#!{python}\n{program}")
        script.chmod(0o755)
    return installation


def _names(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def _pip(*words: str) -> None:
    _run(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words)


def _run(*words: str, cwd: Path | None = None) -> None:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
