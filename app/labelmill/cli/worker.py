"""The commands of those who run workers."""

from __future__ import annotations

import os
import socket
from typing import Annotated

import redis
import typer
from celery.utils.nodenames import default_nodename, host_format

from labelmill.core.errors import ServiceUnavailable
from labelmill.broker.heartbeat import heartbeats
from labelmill.core.settings import BrokerSettings


def worker(
    models: Annotated[
        str | None,
        typer.Option(help="The models to serve, separated by commas; by default all."),
    ] = None,
    name: Annotated[
        str, typer.Option(help="The worker's name; %h is the host's. Each worker has its own.")
    ] = "labelmill@%h",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run a worker: take groups of jobs, run the models, write the rows.

    It stops at Ctrl-C or SIGTERM, after the group on the device; the rest goes back at once.

    Examples:

      labelmill worker --models topics,digits

      labelmill worker --name gpu1@%h --log-level warning
    """
    if models is not None:
        os.environ["LABELMILL_MODELS"] = models
    # The app reads the environment when it is imported.
    from labelmill.worker.celery import app

    process = app.Worker(
        hostname=host_format(default_nodename(name)),
        loglevel=log_level.upper(),
        # Workers of other hosts have nothing to tell this one.
        without_gossip=True,
        without_mingle=True,
    )
    process.start()
    raise typer.Exit(process.exitcode)


def health(
    name: Annotated[
        str | None, typer.Option(help="The worker's name; by default any of this host.")
    ] = None,
) -> None:
    """Say whether a worker lives: exit code 0 if its heartbeat is fresh, else 3.

    Example:

      labelmill health --name labelmill@gpu1
    """
    broker = redis.Redis.from_url(BrokerSettings().broker_url, socket_timeout=5)
    host = socket.gethostname()
    alive = [
        beat
        for beat in heartbeats(broker)
        if (beat["worker"] == name if name else beat["worker"].endswith(f"@{host}"))
    ]
    if not alive:
        raise ServiceUnavailable(f"no fresh heartbeat of {name or f'a worker on {host}'}")
    # A restart of the worker would not mend the database: it lives.
    waiting = any(beat.get("waiting_for") == "database" for beat in alive)
    typer.echo("alive, but waiting for the database" if waiting else "alive")
