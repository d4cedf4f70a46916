"""``labelmill demo``: the whole way, on held-out input, in one command."""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from labelmill.client import Client
from labelmill.core.result import Result
from labelmill.db.database import Database
from labelmill.db.filters import ResultFilter
from labelmill.demo import held_out
from labelmill.demo.held_out import HeldOut
from labelmill.local.postgres import PostgresServer
from labelmill.local.stack import Stack

_SHOWN = 6
_QUICKSTART = "https://github.com/labelmill/labelmill/blob/main/docs/quickstart.md"
_LOOK_AGAIN_S = 0.05

_console = Console()


class DatabaseKind(StrEnum):
    """Where the demo writes its results."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


def demo(
    database: Annotated[
        DatabaseKind, typer.Option(help="The results database.")
    ] = DatabaseKind.SQLITE,
    workers: Annotated[int, typer.Option(min=1, help="How many workers.")] = 1,
) -> None:
    """Label a few hundred held-out texts and images, and show what came out.

    It starts its own Redis, database and worker, and ends them afterwards.

    Example:

      labelmill demo --database postgresql --workers 2
    """
    with (
        tempfile.TemporaryDirectory(prefix="labelmill-demo-") as folder,
        _database(database, Path(folder)) as url,
    ):
        stack = Stack(
            Path(folder),
            database_url=url,
            models_file=held_out.MODELS_FILE,
            image_root=held_out.DATA,
            workers=workers,
            appendonly=False,
        )
        with _console.status("starting Redis, the database and the worker …"):
            stack.start()
        try:
            complete = _run(stack, url, [held_out.texts(), held_out.digits()])
        finally:
            stack.stop()
    if not complete:
        _console.print("[red]not every job has its row[/]")
        sys.exit(1)


def _run(stack: Stack, url: str, sets: list[HeldOut]) -> bool:
    """Submit, follow, show; whether every job has its row."""
    began = time.monotonic()
    with Client(stack.settings["LABELMILL_BROKER_URL"], url, database_schema="") as client:
        runs = {each.model: client.submit_many(each.model, each.jobs).run for each in sets}
    with Database.open(url, schema="") as database:
        _follow(database, runs)
        seconds = time.monotonic() - began
        found = {model: _results(database, run) for model, run in runs.items()}
    for each in sets:
        _show_samples(each, found[each.model])
    _show_summary(sets, found)
    jobs = sum(len(results) for results in found.values())
    _console.print(
        f"\n{jobs} jobs in {seconds:.1f} s, {jobs / seconds:,.0f} jobs/s from submit to row, "
        f"{len(stack.worker_names)} worker(s)\n\n"
        "[bold]Try next[/]"
    )
    _console.print(next_steps(), markup=False, highlight=False, soft_wrap=True)
    return jobs == sum(len(each.jobs) for each in sets)


def _results(database: Database, run: str) -> list[Result]:
    return [each.result for each in database.results.oldest_first(ResultFilter(run_id=run))]


def next_steps() -> str:
    """What to do now, as it works in any folder and any POSIX shell."""
    activate = Path(sys.prefix, "bin", "activate")
    if activate.is_relative_to(Path.cwd()):
        activate = activate.relative_to(Path.cwd())
    # A new terminal has not activated it, even if this one has.
    begin = f"  . {shlex.quote(str(activate))}\n" if activate.is_file() else ""
    return (
        f"{'' if shutil.which('labelmill') else begin}"
        "  labelmill init mill   # a models.toml, the two models and samples\n"
        "  cd mill\n"
        "  labelmill up          # a Labelmill of your own, until Ctrl-C\n"
        "and in another terminal, in the same folder as this one\n"
        f"{begin}"
        "  cd mill\n"
        '  labelmill submit topics --text "Where is my parcel?" --wait\n'
        "  labelmill submit digits samples/digits --wait\n"
        "  labelmill status\n"
        "  labelmill results\n"
        f"From here to your own models: {_QUICKSTART}"
    )


def _follow(database: Database, runs: dict[str, str]) -> None:
    columns = (
        TextColumn("{task.description:>8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=_console) as progress:
        bars = {model: progress.add_task(model, total=None) for model in runs}
        left = set(runs)
        while left:
            for model in list(left):
                state = database.runs.progress(runs[model])
                if state is not None:
                    progress.update(bars[model], total=state.submitted, completed=state.finished)
                    if state.finished >= state.submitted:
                        left.remove(model)
            time.sleep(_LOOK_AGAIN_S)


def _show_samples(held: HeldOut, results: list[Result]) -> None:
    wrong = [each for each in results if each.label != held.truth[each.id]]
    right = [each for each in results if each.label == held.truth[each.id]]
    step = max(1, len(right) // _SHOWN)
    table = Table(
        title=f"\n{held.model}: some of the rows, the last one a mistake",
        title_justify="left",
        header_style="bold",
    )
    room = max(20, min(60, _console.width - 53))  # what the other columns and lines leave
    table.add_column("input", no_wrap=True, overflow="ellipsis", max_width=room)
    for name, width in (("it is", 9), ("label", 9), ("score", 5), ("runner-up", 14)):
        table.add_column(name, no_wrap=True, min_width=width)
    for each in right[::step][: _SHOWN - 1] + wrong[:1]:
        second = each.scores[1] if each.scores else {"label": "", "score": 0.0}
        table.add_row(
            escape(held.shown[each.id]),
            held.truth[each.id],
            f"[{'green' if each in right else 'red'}]{each.label}[/]",
            f"{each.score or 0:.2f}",
            f"{second['label']} {second['score']:.2f}",
        )
    _console.print(table)


def _show_summary(sets: list[HeldOut], found: dict[str, list[Result]]) -> None:
    table = Table(title="\nheld-out input", title_justify="left", header_style="bold")
    for name in ("model", "jobs", "rows", "failed", "accuracy", "groups", "largest", "mean size"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for each in sets:
        results = found[each.model]
        right = sum(result.label == each.truth[result.id] for result in results)
        # Each row says how many shared its forward pass.
        groups = sum(1 / result.group_size for result in results if result.group_size)
        table.add_row(
            each.model,
            str(len(each.jobs)),
            str(len(results)),
            str(sum(result.error_code is not None for result in results)),
            f"{right / max(1, len(results)):.1%}",
            f"{groups:.0f}",
            str(max((result.group_size for result in results), default=0)),
            f"{len(results) / max(1.0, groups):.0f}",
        )
    _console.print(table)


@contextmanager
def _database(kind: DatabaseKind, folder: Path) -> Iterator[str]:
    if kind is DatabaseKind.SQLITE:
        yield f"sqlite:///{folder / 'labelmill.db'}"
        return
    with PostgresServer() as server:
        yield server.url
