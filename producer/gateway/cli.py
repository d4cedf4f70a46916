"""The commands ``labelmill serve`` and ``labelmill token``."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer

from db.errors import ConfigurationError

_NEEDED = ("fastapi", "uvicorn", "limits", "multipart", "PIL")


def serve(
    host: Annotated[
        str, typer.Option(help="The address to listen on; any but loopback needs tokens.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port.")] = 8765,
) -> None:
    """Serve the HTTP API and the page.

    On loopback it is open to everybody on this machine until a token is made. Anywhere else every
    request needs one: labelmill token create.

    Examples:

      labelmill serve

      labelmill serve --host 0.0.0.0 --port 80
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigurationError("the gateway needs more: pip install 'labelmill[gateway]'")
    from producer.gateway.server import run

    run(host, port)
