"""The command ``labelmill reconcile``."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from labelmill.cli.ending import end_by_signals
from labelmill.cli.lines import print_json
from labelmill.core.errors import ConfigurationError, ServiceUnavailable
from labelmill.core.settings import BrokerSettings, DatabaseSettings
from labelmill.recovery.reconciler import Swept, reconciling

_stderr = Console(stderr=True)


def reconcile(
    every: Annotated[
        float | None, typer.Option(help="Again and again, with so many seconds in between.")
    ] = None,
    grace: Annotated[
        float | None,
        typer.Option(help="Seconds in which a job is not lost; by default the setting's."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object a sweep.")] = False,
) -> None:
    """Find the jobs that Redis has lost, and send each of them again.

    It is safe to run at any time and in several places at once.

    Examples:

      labelmill reconcile

      labelmill reconcile --every 60
    """
    if (every is not None and every <= 0) or (grace is not None and grace <= 0):
        raise ConfigurationError("--every and --grace are more than 0 seconds")
    settings = BrokerSettings()
    end_by_signals()
    try:
        _sweep(settings, every, grace, as_json=as_json)
    except KeyboardInterrupt:
        if every is None:
            raise


def _sweep(
    settings: BrokerSettings, every: float | None, grace: float | None, *, as_json: bool
) -> None:
    with reconciling(
        settings.broker_url,
        DatabaseSettings().database_url,
        settings.reconcile_grace if grace is None else grace,
        settings.max_waiting,
    ) as reconciler:
        while True:
            try:
                _print_swept(reconciler.sweep(), as_json=as_json)
            except ServiceUnavailable as error:
                if every is None:
                    raise
                _stderr.print(f"[yellow]{escape(str(error))}[/]", highlight=False)
            if every is None:
                return
            time.sleep(every)


def _print_swept(swept: Swept, *, as_json: bool) -> None:
    if as_json:
        print_json({"looked_at": swept.looked_at, "sent": swept.sent})
    else:
        typer.echo(f"looked at {swept.looked_at:,} jobs, sent {swept.sent:,} again")
