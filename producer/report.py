"""Reports: what people and programs see of results, queues, workers and runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import IO, Any, NamedTuple

from rich.markup import escape
from rich.table import Table

from db.store import ModelCounts, RunProgress
from db.tables import Job, Result, Run
from producer.contract.queues import Heartbeat, QueueDepth

RESULT_COLUMNS = tuple(column.name for column in Result.__table__.columns)


class Row(NamedTuple):
    """A result and what it is of: the text, the image's uri, or nothing that is known."""

    result: Result
    input: str | None


def input_of(job: Job | None) -> str | None:
    """What a job of the ledger was about; a bare ``send_task`` writes none."""
    payload = job.payload if job is not None else {}
    image = payload.get("image")
    value = image.get("uri") if isinstance(image, dict) else payload.get("text")
    return value if isinstance(value, str) else None


def row_fields(row: Row) -> dict[str, Any]:
    """A result's columns, with times in ISO 8601, and its input."""
    values = {name: getattr(row.result, name) for name in RESULT_COLUMNS}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
    } | {"input": row.input}


def write_json(rows: Iterable[Row], output: IO[str]) -> None:
    """Write one JSON object a line."""
    for row in rows:
        output.write(json.dumps(row_fields(row), ensure_ascii=False) + "\n")


def write_csv(rows: Iterable[Row], output: IO[str]) -> None:
    """Write CSV with a header; the scores are JSON."""
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow((*RESULT_COLUMNS, "input"))
    for row in rows:
        fields = row_fields(row)
        fields["scores"] = json.dumps(fields["scores"], ensure_ascii=False)
        writer.writerow(fields.values())


def results_table(rows: Iterable[Row], width: int) -> Table:
    """A table of results.

    Parameters:
        width: of the terminal, in columns; from 80 on every id and every error can be read.
    """
    job = 36 if width >= 120 else 18
    label, score, other, lines = 16, 6, 18, 16
    rest = max(6, width - job - label - score - other - lines)
    table = Table(header_style="bold")
    table.add_column("job", overflow="fold", width=job)
    table.add_column("input", no_wrap=True, overflow="ellipsis", width=rest)
    table.add_column("label", overflow="fold", width=label)
    table.add_column("score", justify="right", no_wrap=True, width=score)
    table.add_column("runner-up / error", overflow="fold", width=other)
    for result, source in rows:
        failed = result.error_code is not None
        table.add_row(
            escape(result.id),
            escape(" ".join((source or "").split())),
            f"[red]{result.error_code}[/]" if failed else escape(str(result.label)),
            "" if result.score is None else f"{result.score:.4f}",
            escape(str(result.error_message)) if failed else _runner_up(result),
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
        table.add_column(name, no_wrap=name == "worker")
    for beat in beats:
        table.add_row(
            beat["worker"],
            ", ".join(beat["models"]),
            ", ".join(beat["devices"]),
            f"{beat['in_flight']:,}",
            f"{beat['jobs']:,}",
            f"{beat['groups']:,}",
            f"{beat['failed']:,}",
            beat["started_at"][5:16].replace("T", " "),
        )
    return table


def runs_table(runs: Iterable[tuple[Run, RunProgress]]) -> Table:
    """A table of runs and how far they are."""
    table = Table(title="runs", title_justify="left", header_style="bold")
    table.add_column("run", no_wrap=True, min_width=36)
    for name in ("model", "done", "failed"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for run, progress in runs:
        table.add_row(
            run.id,
            run.model,
            f"{progress.finished:,}/{progress.submitted:,}",
            f"{progress.failed:,}",
        )
    return table


def _runner_up(result: Result) -> str:
    second = (result.scores or [])[1:2]
    return "".join(f"{escape(each['label'])} {each['score']:.2f}" for each in second)
