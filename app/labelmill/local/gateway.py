"""The gateway as a child of a stack: where it listens, and whether it answers."""

from __future__ import annotations

import os
import socket

from labelmill.core.errors import ConfigurationError
from labelmill.core.extras import GATEWAY, missing

#: Where people look for it.
USUAL_PORT = 8765

_ANSWER_SECONDS = 5


def is_installed() -> bool:
    """Whether ``labelmill[gateway]`` is, whole."""
    return not missing(GATEWAY)


def listen(port: int | None = None) -> socket.socket:
    """A socket that listens on 127.0.0.1, for a gateway to inherit, and the next if that one dies.

    Nobody can take the port between the look whether it is free and the gateway's start.

    Parameters:
        port: by default the usual one, or another if that is taken.

    Raises:
        ConfigurationError: the port is taken, or not for this account.
    """
    try:
        return socket.create_server(("127.0.0.1", port or USUAL_PORT))
    except OSError as error:
        if port is None:
            return socket.create_server(("127.0.0.1", 0))
        raise ConfigurationError(
            f"the gateway cannot listen on port {port} ({os.strerror(error.errno or 0)}); choose"
            " another: --port"
        ) from None


def port_of(listening: socket.socket) -> int:
    """The port on which a socket listens."""
    port: int = listening.getsockname()[1]
    return port


def answers(port: int, path: str = "/readyz") -> bool:
    """Whether a gateway on that port of 127.0.0.1 is ready, or has another path."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), _ANSWER_SECONDS) as connection:
            connection.sendall(request.encode())
            return connection.recv(64).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False
