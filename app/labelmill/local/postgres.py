"""PostgreSQL as a child process."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from labelmill.core.errors import EmbeddedServerError
from labelmill.local.binaries import Source, find_postgres
from labelmill.local.process import User, launcher
from labelmill.local.server import Instance, Server

_OWNER = "labelmill"
_STATUS_LINE = 7
"""Of ``postmaster.pid``, counted from 0: what ``pg_ctl`` waits for."""

# Not synchronous_commit=off: that would also lose commits when only the server is killed.
_FORGETFUL = ("fsync=off", "full_page_writes=off")


class PostgresServer(Server):
    """A PostgreSQL server of our own::

        with PostgresServer() as server:
            psycopg.connect(server.url)

    PostgreSQL refuses to run as root; started by root it runs as ``postgres`` or ``nobody``.

    Parameters:
        directory: where the data is kept; None for a temporary folder.
        durable: whether what is committed survives a power cut; None for yes in a directory that
            is kept and no in a temporary one. The death of the server it survives either way.
        binaries: where to look for ``postgres`` and ``initdb``; None for
            ``LABELMILL_EMBEDDED_BINARIES``, or else the machine first and then the wheel.
    """

    name = "PostgreSQL"
    # "Fast shutdown": end the connections, write everything, leave.
    stop_signal = signal.SIGINT

    def __init__(
        self,
        directory: Path | None = None,
        *,
        durable: bool | None = None,
        binaries: Source | None = None,
    ) -> None:
        super().__init__(directory)
        self._durable = directory is not None if durable is None else durable
        self._binaries = binaries

    @property
    def url(self) -> str:
        """The URL of the database ``postgres``, as its superuser."""
        return f"postgresql://{_OWNER}:{self._password}@127.0.0.1:{self.port}/postgres"

    def _prepare(self, directory: Path) -> None:
        self._programs = find_postgres(self._binaries)
        if user := self._user():
            self._hand_over(directory, user)
        if not (directory / "data" / "PG_VERSION").exists():
            self._initialise(directory)

    def _hand_over(self, directory: Path, user: User) -> None:
        for path in (directory, directory / "password"):
            os.chown(path, *user)
        if not _can_read(user, directory / "password"):
            raise EmbeddedServerError(
                f"PostgreSQL does not run as root, and the account it runs as (uid {user.uid})"
                f" cannot reach {directory}; choose a directory that others can enter"
            )
        if not _can_read(user, self._programs / "postgres"):
            self._programs = _copied_wheel(self._programs, directory / "programs")

    def _initialise(self, directory: Path) -> None:
        made = subprocess.run(  # noqa: S603 - what we found ourselves
            [
                *launcher(self._user()),
                str(self._programs / "initdb"),
                f"--pgdata={directory / 'data'}",
                f"--pwfile={directory / 'password'}",
                f"--username={_OWNER}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-instructions",
                *([] if self._durable else ["--no-sync"]),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=self._environment(),
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise EmbeddedServerError(f"initdb cannot make a database:\n{made.stdout.strip()}")

    def _command(self, directory: Path, port: int) -> Sequence[str | Path]:
        settings = [
            f"port={port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=200",
            # In the data folder: /dev/shm is small in containers, and keeps what a killed
            # server leaves.
            "dynamic_shared_memory_type=mmap",
            *([] if self._durable else _FORGETFUL),
        ]
        return [
            self._programs / "postgres",
            "-D",
            directory / "data",
            *(word for setting in settings for word in ("-c", setting)),
        ]

    def _is_ready(self, instance: Instance) -> bool:
        try:
            lines = (instance.directory / "data" / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return (
            len(lines) > _STATUS_LINE
            and lines[0] == str(instance.pid)
            and lines[_STATUS_LINE].strip() == "ready"
        )

    def _may_try_again(self, log: str) -> bool:
        return (
            "Address already in use" in log
            # After a kill, while the last of its children are still leaving.
            or "pre-existing shared memory block" in log
        )

    def _user(self) -> User | None:
        if os.geteuid() != 0:
            return None
        for name in ("postgres", "nobody"):
            try:
                account = pwd.getpwnam(name)
            except KeyError:
                continue
            return User(account.pw_uid, account.pw_gid)
        raise EmbeddedServerError(
            "PostgreSQL does not run as root, and there is no account postgres or nobody to run"
            " it as; start it from another account"
        )

    def _environment(self) -> Mapping[str, str]:
        # PGDATA, PGPORT and the like are meant for somebody else's server.
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        return {**inherited, "LC_ALL": "C"}


def _can_read(user: User, path: Path) -> bool:
    # Asked of the kernel, which also knows about access lists and mounts.
    test = [*launcher(user), "/bin/sh", "-c", 'test -r "$0"', str(path)]
    return subprocess.run(test, cwd="/", check=False).returncode == 0  # noqa: S603


def _copied_wheel(programs: Path, to: Path) -> Path:
    """A copy of the wheel's programs, for when its virtual environment is private to root."""
    install = programs.parent
    package = install.parent
    # The programs look for their libraries beside the package, as wheels have them.
    for folder in (install, package.with_name(f"{package.name}.libs")):
        shutil.copytree(
            folder,
            to / folder.relative_to(package.parent),
            ignore=shutil.ignore_patterns("include"),
            dirs_exist_ok=True,
        )
    return to / programs.relative_to(package.parent)
