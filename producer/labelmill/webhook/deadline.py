"""The deadline: receivers that go on sending are cut off, where a timeout only ends silence."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection


class ConnectionDeadline:
    """Cuts off the connection that is made last. To be used by one thread."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def pool(self, timeout: Timeout) -> PoolManager:
        """Connections that can be cut off; nothing is tried again."""
        pool = PoolManager(timeout=timeout, retries=False)
        pool.pool_classes_by_scheme = {
            "http": _pool(HTTPConnectionPool, HTTPConnection, self._made),
            "https": _pool(HTTPSConnectionPool, HTTPSConnection, self._made),
        }
        return pool

    @contextlib.contextmanager
    def of(self, seconds: float) -> Iterator[None]:
        """Cut the connection off if the block takes longer; what reads from it fails."""
        timer = threading.Timer(seconds, self._cut_off)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _made(self, connected: socket.socket) -> None:
        self._socket = connected

    def _cut_off(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it has ended
                # Not that of TLS, which is not made to be called beside a reader.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _pool(pool: type[Any], connection: type[Any], made: Callable[[socket.socket], None]) -> Any:
    """The class of pools whose connections tell of their sockets."""

    def connect(self: Any) -> None:
        connection.connect(self)
        made(self.sock)

    told = type(connection.__name__, (connection,), {"connect": connect})
    return type(pool.__name__, (pool,), {"ConnectionCls": told})
