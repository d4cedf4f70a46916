"""Redis as a child process."""

from __future__ import annotations

import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from labelmill.local.binaries import Source, find_redis
from labelmill.local.server import Instance, Server

_ANSWER_TIMEOUT_S = 5


class RedisServer(Server):
    """A Redis server of our own::

        with RedisServer() as server:
            redis.Redis.from_url(server.url).ping()

    Parameters:
        directory: where the data is kept; None for a temporary folder.
        appendonly: whether jobs survive the death of the server; None for yes in a directory that
            is kept and no in a temporary one.
        binaries: where to look for ``redis-server``; None for ``LABELMILL_EMBEDDED_BINARIES``,
            or else the machine first and then the wheel.
    """

    name = "Redis"
    stop_signal = signal.SIGTERM

    def __init__(
        self,
        directory: Path | None = None,
        *,
        appendonly: bool | None = None,
        binaries: Source | None = None,
    ) -> None:
        super().__init__(directory)
        self._appendonly = directory is not None if appendonly is None else appendonly
        self._binaries = binaries

    @property
    def url(self) -> str:
        """The URL of database 0."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def _command(self, directory: Path, port: int) -> Sequence[str | Path]:
        config = directory / "redis.conf"
        settings = {
            "bind": "127.0.0.1",
            "port": port,
            "requirepass": self._password,
            "dir": f'"{directory}"',
            "save": '""',
            "appendonly": "yes" if self._appendonly else "no",
            # Queues must never be evicted: better an error to the producer than a lost job.
            "maxmemory-policy": "noeviction",
        }
        # In a file, since everyone can read the arguments of a process.
        config.touch(mode=0o600)
        config.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
        return [find_redis(self._binaries), config]

    def _is_ready(self, instance: Instance) -> bool:
        try:
            information = self._information(instance.port)
        except OSError:
            return False
        # The one that answers on the port could be somebody else's.
        return f"process_id:{instance.pid}\r\n".encode() in information and (
            b"\r\nloading:0\r\n" in information
        )

    def _information(self, port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), _ANSWER_TIMEOUT_S) as connection:
            connection.sendall(f"AUTH {self._password}\r\nINFO\r\nQUIT\r\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def _may_try_again(self, log: str) -> bool:
        return "Address already in use" in log
