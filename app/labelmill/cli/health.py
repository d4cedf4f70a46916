"""The command ``labelmill health``."""

from __future__ import annotations

import socket
from typing import Annotated

import typer

from labelmill.broker.connection import open_broker
from labelmill.broker.heartbeat import heartbeat_of, heartbeats
from labelmill.core.errors import ServiceUnavailable
from labelmill.core.settings import BrokerSettings


def health(
    name: Annotated[
        str | None,
        typer.Option(help="The worker's name; %h is the host's. By default any of this host."),
    ] = None,
) -> None:
    """Say whether a worker lives: exit code 0 if its heartbeat is fresh, else 3.

    Example:

      labelmill health --name gpu0@%h
    """
    broker = open_broker(BrokerSettings().broker_url)
    host = socket.gethostname()
    name = name and name.replace("%h", host)
    if name:
        beat = heartbeat_of(broker, name)
        alive = [] if beat is None else [beat]
    else:
        alive = [each for each in heartbeats(broker) if each["worker"].endswith(f"@{host}")]
    if not alive:
        raise ServiceUnavailable(f"no fresh heartbeat of {name or f'a worker on {host}'}")
    # A restart of the worker would not mend the database: it lives.
    waiting = any(beat.get("waiting_for") == "database" for beat in alive)
    typer.echo("alive, but waiting for the database" if waiting else "alive")
