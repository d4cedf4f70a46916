"""Reports: what people and programs see of results, queues, workers and runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import IO, Any

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from labelmill.broker.heartbeat import Heartbeat
from labelmill.broker.inspect import QueueDepth
from labelmill.core.result import Result
from labelmill.core.run import Run
from labelmill.db.records import Record
from labelmill.db.results import ResultCounts
from labelmill.db.runs import RunProgress

_WIDE = 120  # from here on an id has a column of its own
_JOB_WIDTH = 36
_INPUT_LINES = 2


def row_fields(record: Record) -> dict[str, Any]:
    """A result's columns, with times in ISO 8601, and its input."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in vars(record.result).items()
    } | {"input": record.input}


def write_json(records: Iterable[Record], output: IO[str]) -> None:
    """Write one JSON object a line."""
    for record in records:
        output.write(json.dumps(row_fields(record), ensure_ascii=False) + "\n")


def results_table(records: Iterable[Record], width: int) -> Table:
    """A table of results; where there is no room beside it, an input stands above its job's id.

    Parameters:
        width: of the terminal, in columns; from 80 on every id and every error can be read.
    """
    wide = width >= _WIDE
    label, score, other, lines = (16, 6, 18, 16) if wide else (12, 6, 17, 9)
    rest = max(12, width - label - score - other - lines - _JOB_WIDTH * wide)
    table = (
        Table(header_style="bold")
        if wide
        else Table(header_style="bold", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    )
    if wide:
        table.add_column("job", overflow="fold", width=_JOB_WIDTH)
    table.add_column("input" if wide else "input and job", overflow="fold", width=rest)
    table.add_column("label", overflow="fold", width=label)
    table.add_column("score", justify="right", no_wrap=True, width=score)
    table.add_column("runner-up / error", overflow="fold", width=other)
    for result, source in records:
        failed = result.error_code is not None
        text = escape(_beginning(source or "", rest * (1 if wide else _INPUT_LINES)))
        job = escape(result.id)
        table.add_row(
            *((job, text) if wide else (f"{text}\n[dim]{job}[/]" if text else f"[dim]{job}[/]",)),
            "[red]failed[/]" if failed else escape(str(result.label)),
            "" if result.score is None else f"{result.score:.4f}",
            f"[red]{result.error_code}[/]\n{escape(str(result.error_message))}"
            if failed
            else _runner_up(result),
        )
    return table


def queues_table(depths: Mapping[str, QueueDepth], counts: Mapping[str, ResultCounts]) -> Table:
    """A table of queues: what waits, what is in hand, what is done."""
    table = Table(title="queues", title_justify="left", header_style="bold")
    for name in ("model", "waiting", "in flight", "delayed", "dead", "succeeded", "failed"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for queue, depth in depths.items():
        done = counts.get(queue, ResultCounts())
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
        state = beat.get("state", "ready")
        paused = beat.get("paused", [])
        table.add_row(
            beat["worker"] if state == "ready" else f"{beat['worker']}\n[yellow]{state}[/]",
            ", ".join(f"{each} (paused)" if each in paused else each for each in beat["models"]),
            ", ".join(beat["devices"]),
            f"{beat['in_flight']:,}",
            f"{beat['jobs']:,}",
            f"{beat['groups']:,}",
            f"{beat['failed']:,}",
            beat["started_at"][5:16].replace("T", " "),
        )
    return table


def running_table(beats: Iterable[Heartbeat]) -> Table:
    """A table of how models are run, and by how many workers each in that way."""
    table = Table(title="models as they run", title_justify="left", header_style="bold")
    for name in ("model", "workers", "device", "dtype", "layout", "a pass", "a group"):
        table.add_column(name, justify="right" if name == "workers" else "left")
    for (model, *how), workers in sorted(_ways(beats).items()):
        table.add_row(model, f"{workers:,}", *map(escape, how))
    return table


def _ways(beats: Iterable[Heartbeat]) -> Counter[tuple[str, ...]]:
    """How often each model is run in each way."""
    return Counter(
        (
            model,
            way["device"],
            way["dtype"] or "–",
            way["layout"] or "–",
            way["budget"] or "–",
            f"{way['group_size']:,} jobs",
        )
        for beat in beats
        for model, way in beat.get("running", {}).items()
    )


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


def _beginning(text: str, cells: int) -> str:
    """The text in one line, cut to so many cells of a terminal."""
    shown = Text(" ".join(text[: cells * 2].split()))
    shown.truncate(cells, overflow="ellipsis")
    return "".join(
        each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in shown.plain
    )


def _runner_up(result: Result) -> str:
    second = (result.scores or [])[1:2]
    return "".join(f"{escape(each['label'])} {each['score']:.2f}" for each in second)
