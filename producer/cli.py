"""The commands of those who submit jobs and read results."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import redis
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from db.errors import ConfigurationError
from db.ledger import Ledger
from db.settings import DatabaseSettings
from db.store import ModelCounts, RunProgress, Store
from db.tables import Status
from producer import report
from producer.client import Client, NewJob
from producer.contract.catalog import Catalog
from producer.contract.queues import heartbeats, queue_depths
from producer.contract.settings import BrokerSettings
from producer.ids import new_id
from producer.sources import Columns, count_source, read_source

_stdout = Console()
_stderr = Console(stderr=True)

_SHOWN_REJECTIONS = 10
_SHOWN_RUNS = 5
_FOLLOW_SECONDS = 0.2
_ANSWER_SECONDS = 5


def submit(
    model: Annotated[str, typer.Argument(help="The model's alias, which is its queue.")],
    source: Annotated[
        Path | None,
        typer.Argument(help="A .csv or .jsonl file, or a folder of images.", show_default=False),
    ] = None,
    text: Annotated[str | None, typer.Option(help="Submit this one text instead.")] = None,
    image: Annotated[
        Path | None,
        typer.Option(help="Submit this one image instead.", exists=True, dir_okay=False),
    ] = None,
    text_column: Annotated[str, typer.Option(help="The column of the texts.")] = "text",
    image_column: Annotated[
        str | None, typer.Option(help="The column of image paths or uris, instead of texts.")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="The column of job ids; by default ids are made.")
    ] = None,
    run: Annotated[str | None, typer.Option(help="The run's id; by default one is made.")] = None,
    inline: Annotated[
        bool,
        typer.Option(
            "--inline", help="Send images in the messages (at most 1 MiB each), not as paths."
        ),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until every job has its row.")] = False,
) -> None:
    """Submit one job, or many from a file or folder.

    Images go as absolute paths: the worker reads them under its LABELMILL_IMAGE_ROOT.

    Examples:

      labelmill submit topics --text "The parcel never came." --wait

      labelmill submit topics messages.csv --text-column body --id-column ticket

      labelmill submit digits scans/ --wait
    """
    if sum(given is not None for given in (source, text, image)) != 1:
        raise ConfigurationError("give one of SOURCE, --text and --image; see --help")
    _check_model(model)
    if source is None:
        _submit_one(model, text, image, run, inline=inline, wait=wait)
    else:
        columns = Columns(text=text_column, image=image_column, id=id_column)
        _submit_many(model, source, columns, run or new_id(), inline=inline, wait=wait)


def status(
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show queues, workers and the newest runs.

    Example:

      labelmill status --json | jq .queues.topics.waiting
    """
    settings = BrokerSettings()
    broker = _broker(settings)
    with Store.open(DatabaseSettings().database_url) as store:
        beats = heartbeats(broker)
        counts = store.counts()
        depths = queue_depths(broker, _queues(settings, store, counts))
        runs = [
            (run, progress)
            for run in store.runs(_SHOWN_RUNS)
            if (progress := store.run_progress(run.id))
        ]
    served = {model for beat in beats for model in beat["models"]}
    if as_json:
        body = {
            "queues": {
                queue: {
                    **depth,
                    "served": queue in served,
                    "succeeded": counts.get(queue, ModelCounts()).succeeded,
                    "failed": counts.get(queue, ModelCounts()).failed,
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
    _stdout.print(report.workers_table(beats) if beats else "[yellow]no worker is running[/]")
    unserved = [name for name, depth in depths.items() if depth["waiting"] and name not in served]
    if beats and unserved:
        _stdout.print(f"[yellow]no worker serves[/] {', '.join(unserved)}, where jobs wait")
    if runs:
        _stdout.print(report.runs_table(runs))


def follow(client: Client, run: str, progress: Progress) -> RunProgress:
    """Show a run's progress until each of its jobs has a row."""
    bar = progress.add_task("classified", total=None)
    while True:
        state = client.progress(run) or RunProgress(0, 0, 0)
        progress.update(bar, total=state.submitted, completed=state.finished)
        if state.finished >= state.submitted:
            return state
        time.sleep(_FOLLOW_SECONDS)


def progress_bar() -> Progress:
    """A progress bar on standard error; data stays alone on standard output."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=_stderr,
    )


def _check_model(model: str) -> None:
    """Refuse a misspelt model; say so when nobody serves it now."""
    settings = BrokerSettings()
    if settings.models_file.is_file():
        Catalog.load(settings.models_file).select([model])
    if not any(model in beat["models"] for beat in heartbeats(_broker(settings))):
        _stderr.print(f"[yellow]no worker serves {model} now: its jobs wait in Redis[/]")


def _broker(settings: BrokerSettings) -> redis.Redis:
    return redis.Redis.from_url(
        settings.broker_url, socket_timeout=_ANSWER_SECONDS, socket_connect_timeout=_ANSWER_SECONDS
    )


def _submit_one(
    model: str, text: str | None, image: Path | None, run: str | None, *, inline: bool, wait: bool
) -> None:
    with Client() as client:
        if text is not None:
            job_id = client.submit_text(model, text, run=run)
        else:
            assert image is not None  # noqa: S101 - one of the two is given
            job_id = client.submit_image(model, image.read_bytes() if inline else image, run=run)
        if not wait:
            sys.stdout.write(f"{job_id}\n")
            return
        _stderr.print(f"job {job_id}", highlight=False)
        row = report.Row(client.wait(job_id), text or str(image))
    if _stdout.is_terminal:
        _stdout.print(report.results_table([row], _stdout.width))
    else:
        report.write_json([row], sys.stdout)
    if row.result.status is Status.FAILED:
        raise typer.Exit(1)


def _submit_many(
    model: str, source: Path, columns: Columns, run: str, *, inline: bool, wait: bool
) -> None:
    jobs = read_source(source, columns)
    if inline:
        jobs = (_with_bytes(job) for job in jobs)
    sent = duplicates = 0
    rejected: list[str] = []
    done: RunProgress | None = None
    _stderr.print(f"run {run}", highlight=False)
    with Client() as client, progress_bar() as progress:
        bar = progress.add_task("submitted", total=count_source(source))
        for block in client.submit_blocks(model, jobs, run=run, source=str(source)):
            sent += len(block.ids)
            duplicates += len(block.duplicates)
            rejected += [f"job {number + 1}: {error}" for number, error in block.rejected]
            progress.update(bar, completed=sent + duplicates + len(rejected))
        progress.update(bar, total=sent + duplicates + len(rejected))
        if wait:
            done = follow(client, run, progress)
    _stderr.print(
        f"{sent:,} submitted, {duplicates:,} submitted before, {len(rejected):,} rejected"
    )
    for line in rejected[:_SHOWN_REJECTIONS]:
        _stderr.print(f"  {line}", markup=False)
    if len(rejected) > _SHOWN_REJECTIONS:
        _stderr.print(f"  … and {len(rejected) - _SHOWN_REJECTIONS:,} more")
    sys.stdout.write(f"{run}\n")
    if done is not None:
        _stderr.print(f"{done.succeeded:,} succeeded, {done.failed:,} failed")
        if done.failed:
            _stderr.print(f"labelmill results --run {run} --status failed", highlight=False)
            raise typer.Exit(1)


def _with_bytes(job: NewJob) -> NewJob:
    if isinstance(job.image, Path):
        return NewJob(id=job.id, image=job.image.read_bytes())
    return job


def _queues(settings: BrokerSettings, store: Store, counts: dict[str, ModelCounts]) -> list[str]:
    """Those of models.toml, then all others that jobs were sent to or came out of."""
    named = list(Catalog.load(settings.models_file)) if settings.models_file.is_file() else []
    sent_to = (lane.model for lane in Ledger(store.engine).lanes())
    return list(dict.fromkeys([*named, *counts, *sent_to]))
