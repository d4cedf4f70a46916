"""The command `labelmill status`: queues, workers and runs."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from labelmill.broker.connection import open_broker
from labelmill.broker.heartbeat import heartbeats, serves
from labelmill.broker.inspect import QueueInspector
from labelmill.cli import report
from labelmill.core.catalog import Catalog
from labelmill.core.settings import BrokerSettings, DatabaseSettings
from labelmill.db.database import Database
from labelmill.db.results import ResultCounts

_stdout = Console()

_SHOWN_RUNS = 5


def status(
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show queues, workers and the newest runs.

    Example:

      labelmill status --json | jq .queues.topics.waiting
    """
    settings = BrokerSettings()
    broker = open_broker(settings.broker_url)
    with Database.open(DatabaseSettings().database_url) as database:
        beats = heartbeats(broker)
        counts = database.results.counts()
        counted = QueueInspector(broker).counts(_queues(settings, database, counts))
        runs = [
            (run, progress)
            for run in database.runs.newest(_SHOWN_RUNS)
            if (progress := database.runs.progress(run.id))
        ]
    depths = {name: each.depth for name, each in counted.items()}
    troubles = {name: each.refusal for name, each in counted.items() if each.refusal}
    for beat in beats:
        troubles = beat.get("troubles", {}) | troubles
    served = {model for beat in beats for model in beat["models"] if serves(beat, model)}
    if as_json:
        body = {
            "queues": {
                queue: {
                    **depth,
                    "served": queue in served,
                    "succeeded": counts.get(queue, ResultCounts()).succeeded,
                    "failed": counts.get(queue, ResultCounts()).failed,
                    "trouble": troubles.get(queue),
                }
                for queue, depth in depths.items()
            },
            "workers": beats,
            "runs": {
                run.id: {
                    "model": run.model,
                    "source": run.source,
                    "submitted": p.submitted,
                    "succeeded": p.succeeded,
                    "failed": p.failed,
                }
                for run, p in runs
            },
        }
        sys.stdout.write(json.dumps(body) + "\n")
        return
    _stdout.print(report.queues_table(depths, counts))
    for queue, why in troubles.items():
        _stdout.print(f"[yellow]Redis refuses the queue[/] {escape(f'{queue}: {why}')}")
    _stdout.print(report.workers_table(beats) if beats else "[yellow]no worker is running[/]")
    if beats:
        _stdout.print(report.running_table(beats))
    unserved = [name for name, depth in depths.items() if depth["waiting"] and name not in served]
    for beat in beats:
        if paused := beat.get("paused"):
            _stdout.print(
                f"[yellow]{beat['worker']} has paused[/] {', '.join(paused)}; "
                "celery -A labelmill.worker control add_consumer MODEL takes from it again"
            )
    if beats and unserved:
        _stdout.print(f"[yellow]no worker serves[/] {', '.join(unserved)}, where jobs wait")
    if runs:
        _stdout.print(report.runs_table(runs))


def _queues(
    settings: BrokerSettings, database: Database, counts: dict[str, ResultCounts]
) -> list[str]:
    """Those of models.toml, then all others that jobs were sent to or came out of."""
    named = list(Catalog.load(settings.models_file)) if settings.models_file.is_file() else []
    sent_to = (lane.model for lane in database.jobs.lanes())
    return list(dict.fromkeys([*named, *counts, *sent_to]))
