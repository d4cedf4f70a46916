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
    """Say whether a worker lives and has its models: exit code 0 if so, else 3.

    One that stops, or waits for the database, lives; one that loads its models is not there yet.

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
    if all(beat.get("state") == "loading" for beat in alive):
        names = ", ".join(beat["worker"] for beat in alive)
        raise ServiceUnavailable(f"not yet: {names} is loading its models")
    # A restart of the worker would mend neither: it lives.
    waiting = {beat.get("waiting_for") for beat in alive}
    what = "the database" if "database" in waiting else "Redis" if "redis" in waiting else None
    typer.echo(f"alive, but waiting for {what}" if what else "alive")
