"""``labelmill up``: everything on this machine, until Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from labelmill.cli.ending import end_by_signals
from labelmill.core.catalog import Catalog
from labelmill.core.errors import ConfigurationError
from labelmill.core.settings import ENV_FILE, BrokerSettings
from labelmill.local import gateway
from labelmill.local.stack import Stack

_NO_GATEWAY = "pip install 'labelmill[gateway]'"

_stderr = Console(stderr=True)


_Models: TypeAlias = Annotated[
    str, typer.Option(help="The models to serve, separated by commas; by default all.")
]
_Workers: TypeAlias = Annotated[int, typer.Option(min=1, help="How many workers.")]
_ImageRoot: TypeAlias = Annotated[
    Path, typer.Option(help="The folder under which images may lie.", file_okay=False)
]
_Port: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=65535,
        help="The gateway's port; by default 8765, or another if that is taken.",
        show_default=False,
    ),
]


def up(
    models: _Models = "",
    workers: _Workers = 1,
    image_root: _ImageRoot = Path(),
    port: _Port = None,
) -> None:
    """Run Redis, a SQLite database, a worker, the reconciler and the gateway until Ctrl-C.

    Data, logs and addresses lie in .labelmill/ of this folder; there every other labelmill
    command, and Client(), finds its way by itself. With LABELMILL_DATABASE_URL set, that database
    is used. Jobs that wait when it ends go on when it is started again.

    Example:

      labelmill up --models topics,digits
    """
    models_file = BrokerSettings().models_file
    served = Catalog.load(models_file)
    served = served.select(models.split(",")) if models else served
    folder = ENV_FILE.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise ConfigurationError(
            f"{folder.resolve()} cannot be written ({error.strerror}); run labelmill up in a folder"
            " of this account's"
        ) from error
    try:
        # Held until this process ends, however it ends.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigurationError("labelmill is up in this folder already") from None
    stack = Stack(
        folder,
        database_url=os.environ.get("LABELMILL_DATABASE_URL")
        or f"sqlite:///{folder.resolve() / 'labelmill.db'}",
        database_schema=os.environ.get("LABELMILL_DATABASE_SCHEMA", ""),
        models_file=models_file,
        models=",".join(served),
        image_root=image_root,
        workers=workers,
        gateway=_gateway(port),
    )
    end_by_signals()
    with _stderr.status("starting Redis and the workers …"):
        stack.start()
    try:
        _write_env(stack)
        _stderr.print(Panel.fit(_greeting(stack, served), title="labelmill is up"))
        stack.watch(lambda text: _stderr.print(f"[yellow]{escape(text)}[/]"))
    except KeyboardInterrupt:
        _stderr.print("stopping: jobs on the device are finished, the rest waits in Redis")
    finally:
        stack.stop()


def _gateway(asked: int | None) -> socket.socket | None:
    if gateway.is_installed():
        return gateway.listen(asked)
    if asked is not None:
        raise ConfigurationError(f"the gateway needs more: {_NO_GATEWAY}")
    return None


def _write_env(stack: Stack) -> None:
    # It holds the password of Redis.
    ENV_FILE.touch(mode=0o600)
    ENV_FILE.write_text("".join(f"{key}='{value}'\n" for key, value in stack.settings.items()))


def _greeting(stack: Stack, served: Catalog) -> str:
    lines = [
        f"[bold]{escape(alias)}[/]  {spec.task}  {escape(spec.checkpoint)}"
        for alias, spec in served.items()
    ]
    logs = ", ".join(str(stack.log(name)) for name in stack.worker_names)
    example = next(iter(served))
    lines += [
        "",
        f"page and API: {escape(stack.gateway_url or _NO_GATEWAY)}",
        f"logs: {logs}",
        "In another terminal, in this folder:",
        f'  labelmill submit {example} --text "Hello" --wait',
        "  labelmill status",
        "Ctrl-C ends it.",
    ]
    return "\n".join(lines)
