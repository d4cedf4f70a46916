"""A PgBouncer in transaction mode, as a child process."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from labelmill.core.closing import Closeable
from labelmill.local.process import User, free_port, launcher
from tests.support.waiting import wait_for


class PgBouncer(Closeable):
    """Transactions over a few connections to a server; ends with :meth:`close`.

    Parameters:
        server_url: of a PostgreSQL of this machine.
        connections: how many there are to the server.
    """

    def __init__(self, server_url: str, connections: int = 2) -> None:
        program = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
        if program is None:
            pytest.skip("there is no pgbouncer on this machine")
        self._server = make_url(server_url)
        self._port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="pgbouncer"))
        user = _user()
        (self._folder / "users").write_text(
            f'"{self._server.username}" "{self._server.password}"\n'
        )
        (self._folder / "ini").write_text(
            f"""
[databases]
* = host=127.0.0.1 port={self._server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self._port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {self._folder / "users"}
pool_mode = transaction
default_pool_size = {connections}
logfile = {self._folder / "log"}
"""
        )
        if user:
            for path in (self._folder, *self._folder.iterdir()):
                os.chown(path, *user)
        self._process = subprocess.Popen(
            [*launcher(user), program, "-q", str(self._folder / "ini")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
        wait_for(self._listens)

    def url_of(self, url: str) -> str:
        """The URL of a database of the server, through the pooler."""
        return make_url(url).set(port=self._port).render_as_string(hide_password=False)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder)

    def _listens(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
            return True
        return False


def _user() -> User | None:
    # It refuses to run as root.
    if os.geteuid() != 0:
        return None
    account = pwd.getpwnam("nobody")
    return User(account.pw_uid, account.pw_gid)
