"""The server: the application on a port, until it is told to end."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socket import (
    AF_INET,
    AF_INET6,
    SO_ACCEPTCONN,
    SO_REUSEADDR,
    SOCK_STREAM,
    SOL_SOCKET,
    getaddrinfo,
    socket,
)

import uvicorn

from labelmill.core.catalog import Catalog
from labelmill.core.errors import ConfigurationError
from labelmill.gateway.app import create_app
from labelmill.gateway.connections import Connection
from labelmill.gateway.dependencies import is_loopback
from labelmill.gateway.settings import GatewaySettings

_DRAIN_SECONDS = 10
_MOST_CONNECTIONS = 2000


class GatewayServer(uvicorn.Server):
    """The gateway on an address.

    Parameters:
        port: 0 for a free one.

    Raises:
        ConfigurationError: when it starts, if a setting cannot be used.
    """

    def __init__(self, settings: GatewaySettings, host: str, port: int) -> None:
        self._app = create_app(settings, is_open=is_loopback(host))
        super().__init__(
            uvicorn.Config(
                self._app,
                host=host,
                port=port,
                http=Connection,
                lifespan="on",
                # It prints query strings, in which there may be a payload.
                access_log=False,
                log_config=None,
                server_header=False,
                limit_concurrency=_MOST_CONNECTIONS,
                timeout_graceful_shutdown=_DRAIN_SECONDS,
            )
        )

    @property
    def port(self) -> int:
        """The port that it listens on, once it has started."""
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End in good order at SIGTERM, and at Ctrl-C unless this process was to ignore it.

        That is a success: uvicorn would afterwards raise the signal once more.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        heard = [signal.SIGTERM]
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            heard.append(signal.SIGINT)
        before = {number: signal.signal(number, self.handle_exit) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Let those go who wait for results, then wait until the others have their answers."""
        self._app.state.services.watcher.let_go()
        await super().shutdown(sockets)


def inherited(fd: int) -> socket:
    """The socket that somebody has opened for this process.

    Raises:
        ConfigurationError: it is no TCP socket that listens.
    """
    try:
        listening = socket(fileno=fd)
    except OSError as error:
        raise ConfigurationError(f"--fd {fd}: {error.strerror}") from None
    is_tcp = listening.family in (AF_INET, AF_INET6)
    if not is_tcp or not listening.getsockopt(SOL_SOCKET, SO_ACCEPTCONN):
        listening.close()
        raise ConfigurationError(f"--fd {fd}: no TCP socket that listens")
    return listening


def _check_free(host: str, port: int) -> None:
    """Find out whether the address can be had, which uvicorn would tell among other lines."""
    try:
        [(family, _, _, _, address), *_] = getaddrinfo(host, port, type=SOCK_STREAM)
        with socket(family, SOCK_STREAM) as candidate:
            candidate.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
            candidate.bind(address)
    except OSError as error:
        raise ConfigurationError(
            f"the gateway cannot listen on {host}, port {port} ({error.strerror}); choose another:"
            " --host, --port"
        ) from None


def run(host: str, port: int, fd: int | None = None) -> None:
    """Serve until SIGINT or SIGTERM.

    Parameters:
        fd: of a socket that listens, in place of host and port.

    Raises:
        ConfigurationError: a setting or the address cannot be used.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = GatewaySettings()
    # The server would tell of it by a traceback.
    Catalog.load(settings.models_file)
    if fd is None:
        _check_free(host, port)
        GatewayServer(settings, host, port).run()
    else:
        with inherited(fd) as listening:
            host, port, *_ = listening.getsockname()
            GatewayServer(settings, host, port).run(sockets=[listening])
    # A thread whose Redis or database is frozen may never return, and Python would wait for it.
    logging.shutdown()
    os._exit(0)
