"""Reports: what people and programs see of results, queues, workers and runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import IO, Any

from rich.markup import escape
from rich.table import Table

from db.store import ModelCounts, RunProgress
from db.tables import Result, Run
from producer.contract.queues import Heartbeat, QueueDepth

RESULT_COLUMNS = tuple(column.name for column in Result.__table__.columns)


def result_fields(result: Result) -> dict[str, Any]:
    """A result's columns, with times in ISO 8601."""
    values = {name: getattr(result, name) for name in RESULT_COLUMNS}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
    }


def write_json(results: Iterable[Result], output: IO[str]) -> None:
    """Write one JSON object a line."""
    for result in results:
        output.write(json.dumps(result_fields(result), ensure_ascii=False) + "\n")


def write_csv(results: Iterable[Result], output: IO[str]) -> None:
    """Write CSV with a header; the scores are JSON."""
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(RESULT_COLUMNS)
    for result in results:
        fields = result_fields(result)
        fields["scores"] = json.dumps(fields["scores"], ensure_ascii=False)
        writer.writerow(fields.values())


def results_table(results: Iterable[Result]) -> Table:
    """A table of results."""
    table = Table(header_style="bold")
    table.add_column("job", no_wrap=True, overflow="ellipsis", max_width=36)
    table.add_column("model", no_wrap=True)
    table.add_column("label", no_wrap=True)
    table.add_column("score", justify="right")
    table.add_column("runners-up / error", overflow="fold")
    table.add_column("group", justify="right")
    for result in results:
        failed = result.error_code is not None
        table.add_row(
            escape(result.id),
            escape(result.model),
            f"[red]{result.error_code}[/]" if failed else escape(str(result.label)),
            "" if result.score is None else f"{result.score:.4f}",
            escape(str(result.error_message)) if failed else _runners_up(result),
            str(result.group_size),
        )
    return table


def queues_table(depths: Mapping[str, QueueDepth], counts: Mapping[str, ModelCounts]) -> Table:
    """A table of queues: what waits, what is in hand, what is done."""
    table = Table(title="queues", title_justify="left", header_style="bold")
    for name in ("model", "waiting", "in flight", "delayed", "dead", "succeeded", "failed"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for queue, depth in depths.items():
        done = counts.get(queue, ModelCounts())
        numbers = (
            depth["waiting"],
            depth["leased"],
            depth["delayed"],
            depth["dead"],
            done.succeeded,
            done.failed,
        )
        table.add_row(queue, *(f"{number:,}" for number in numbers))
    return table


def workers_table(beats: Iterable[Heartbeat]) -> Table:
    """A table of the workers that live."""
    table = Table(title="workers", title_justify="left", header_style="bold")
    for name in ("worker", "models", "device", "in flight", "jobs", "groups", "failed", "since"):
        table.add_column(name)
    for beat in beats:
        table.add_row(
            beat["worker"],
            ", ".join(beat["models"]),
            ", ".join(beat["devices"]),
            f"{beat['in_flight']:,}",
            f"{beat['jobs']:,}",
            f"{beat['groups']:,}",
            f"{beat['failed']:,}",
            beat["started_at"],
        )
    return table


def runs_table(runs: Iterable[tuple[Run, RunProgress]]) -> Table:
    """A table of runs and how far they are."""
    table = Table(title="runs", title_justify="left", header_style="bold")
    for name in ("run", "model", "source", "submitted", "succeeded", "failed"):
        table.add_column(name)
    for run, progress in runs:
        table.add_row(
            run.id,
            run.model,
            escape(run.source),
            f"{progress.submitted:,}",
            f"{progress.succeeded:,}",
            f"{progress.failed:,}",
        )
    return table


def _runners_up(result: Result) -> str:
    return "  ".join(
        f"{escape(each['label'])} {each['score']:.2f}" for each in (result.scores or [])[1:3]
    )
