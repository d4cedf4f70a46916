"""The command ``labelmill serve``."""

from __future__ import annotations

from typing import Annotated

import typer

from labelmill.core.errors import ConfigurationError
from labelmill.core.extras import GATEWAY, missing


def serve(
    host: Annotated[
        str, typer.Option(help="The address to listen on; any but loopback needs tokens.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port.")] = 8765,
    fd: Annotated[
        int | None,
        typer.Option(
            min=0, help="A socket that listens already, inherited, in place of host and port."
        ),
    ] = None,
) -> None:
    """Serve the HTTP API and the page.

    On loopback it is open to everybody on this machine until a token is made. Anywhere else every
    request needs one: labelmill token create.

    Examples:

      labelmill serve

      labelmill serve --host 0.0.0.0 --port 80
    """
    if missing(GATEWAY):
        raise ConfigurationError("the gateway needs more: pip install 'labelmill[gateway]'")
    from labelmill.gateway.server import run

    run(host, port, fd)
