"""The command of those who tell others of finished jobs."""

from __future__ import annotations

import json
import logging
import signal
import sys
from contextlib import closing
from datetime import datetime
from threading import Event
from typing import Annotated

import typer

from labelmill.broker.group import ConsumerGroup
from labelmill.core.errors import ConfigurationError, LabelmillError
from labelmill.core.settings import DatabaseSettings
from labelmill.db.database import Database
from labelmill.webhook.settings import WebhookSettings


def webhook(
    model: Annotated[
        list[str] | None, typer.Option(help="Only jobs of this model; may be given again.")
    ] = None,
    run: Annotated[
        list[str] | None, typer.Option(help="Only jobs of this run; may be given again.")
    ] = None,
    group: Annotated[
        str, typer.Option(help="Processes of one group share the jobs; each group gets them all.")
    ] = "webhook",
    since: Annotated[
        str | None,
        typer.Option(help="Send what finished since this time (ISO 8601) from the table, and end."),
    ] = None,
    given_up: Annotated[
        bool, typer.Option("--given-up", help="List what was given up, as JSON lines, and end.")
    ] = False,
) -> None:
    """POST finished jobs to LABELMILL_WEBHOOK_URL, signed with LABELMILL_WEBHOOK_SECRET.

    It runs until Ctrl-C or SIGTERM, and begins with what finishes after its first start; while it
    is down, the stream waits for it.

    Examples:

      labelmill webhook --model topics

      labelmill webhook --since 2026-11-21T09:00:00Z
    """
    # urllib3 is an extra.
    from labelmill.webhook.delivery import DeliveryOutcome, Sender
    from labelmill.webhook.webhook import JobFilter, Webhook, finished_since

    settings = WebhookSettings()
    with closing(ConsumerGroup(settings.broker_url, group)) as readers:
        if given_up:
            for each in readers.given_up():
                sys.stdout.write(json.dumps(each) + "\n")
            return
        moment = _moment(since) if since is not None else None
        logging.basicConfig(
            level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
        )
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        stop = Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: stop.set())
        chosen = JobFilter(frozenset(model or ()), frozenset(run or ()))
        with closing(Sender(settings, stop)) as sender:
            if moment is None:
                Webhook(readers, sender, chosen, stop).run()
                return
            sent = 0
            with Database.open(DatabaseSettings().database_url) as database:
                for delivery in finished_since(database.results, moment, chosen):
                    outcome, failure = sender.deliver(delivery)
                    if outcome is not DeliveryOutcome.DELIVERED:
                        raise LabelmillError(f"{sent:,} jobs sent, then {outcome.value}: {failure}")
                    sent += len(delivery.jobs)
    typer.echo(f"{sent:,} jobs sent")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"--since takes an ISO 8601 time such as 2026-11-21T09:00:00Z, not {text!r}"
        ) from None
    return moment.astimezone()
