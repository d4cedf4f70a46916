"""The command ``labelmill worker``."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from celery.utils.nodenames import default_nodename, host_format


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
