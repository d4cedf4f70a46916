"""The server: the application on a port, until it is told to end."""

from __future__ import annotations

import logging
import os
from socket import socket

import uvicorn

from labelmill.core.catalog import Catalog
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

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Let those go who wait for results, then wait until the others have their answers."""
        self._app.state.services.watcher.let_go()
        await super().shutdown(sockets)


def run(host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        ConfigurationError: a setting or the address cannot be used.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = GatewaySettings()
    # The server would tell of it by a traceback.
    Catalog.load(settings.models_file)
    GatewayServer(settings, host, port).run()
    # A thread whose Redis or database is frozen may never return, and Python would wait for it.
    logging.shutdown()
    os._exit(0)
