"""The gateway as a child of a stack: where it listens, and whether it answers."""

from __future__ import annotations

import socket

from labelmill.core.extras import GATEWAY, missing
from labelmill.local.process import free_port

#: Where people look for it.
USUAL_PORT = 8765

_ANSWER_SECONDS = 5


def is_installed() -> bool:
    """Whether ``labelmill[gateway]`` is, whole."""
    return not missing(GATEWAY)


def choose_port() -> int:
    """The usual port of 127.0.0.1 if nothing listens there, or else a free one."""
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", USUAL_PORT))
        except OSError:
            return free_port()
        return USUAL_PORT


def answers(port: int, path: str = "/readyz") -> bool:
    """Whether a gateway on that port of 127.0.0.1 is ready, or has another path."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), _ANSWER_SECONDS) as connection:
            connection.sendall(request.encode())
            return connection.recv(64).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False
