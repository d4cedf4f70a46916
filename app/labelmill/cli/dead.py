"""The commands ``labelmill dead``: jobs that ended their worker, or whose rows were refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from labelmill.broker.connection import open_broker
from labelmill.cli.lines import print_json
from labelmill.core.errors import ConfigurationError, JobError, LabelmillError
from labelmill.core.settings import BrokerSettings, DatabaseSettings
from labelmill.db.database import Database
from labelmill.recovery.dead_letters import DeadLetter, DeadLetters

_stdout = Console()
_stderr = Console(stderr=True)

dead = typer.Typer(
    name="dead",
    help="Dead letters: jobs that ended their worker each time, or whose rows were refused.",
    no_args_is_help=True,
)

Ids = Annotated[
    list[str] | None, typer.Argument(help="The ids of the jobs that died.", show_default=False)
]
Model = Annotated[str | None, typer.Option(help="Those of this model.")]
Everything = Annotated[bool, typer.Option("--all", help="Those of all models.")]
Json = Annotated[bool, typer.Option("--json", help="A JSON object each.")]


@dead.command("list")
def list_letters(model: Model = None, as_json: Json = False) -> None:
    """Show the dead letters, the newest first; never what is in them.

    Example: labelmill dead list --model topics
    """
    with _letters() as (letters, database):
        described = (
            _described(letter, database)
            for queue in _queues(letters, model)
            for letter in letters.of(queue)
        )
        if as_json:
            for each in described:
                print_json(each)
        else:
            _print_table(described)


@dead.command()
def show(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the job that died.")],
    payload: Annotated[
        bool, typer.Option("--payload", help="Its text or image too, which may be private.")
    ] = False,
) -> None:
    """Show one dead letter as a JSON object.

    Example: labelmill dead show 019aa51c-7d52-7c1e-a5f0-0c5d5f2f1c11 --payload
    """
    with _letters() as (letters, database):
        [letter] = _chosen(letters, [job_id], None, everything=False)
        content = letter.content
        shown = _described(letter, database)
        if payload:
            shown["payload"] = content.job.to_kwargs() if content.job else None
            shown["unreadable"] = content.error.message if content.error else None
        print_json(shown)


@dead.command()
def replay(
    ids: Ids = None, model: Model = None, everything: Everything = False, as_json: Json = False
) -> None:
    """Put the jobs of dead letters back into their queues, each as a new job.

    The old job's row says why it died, and stays. The new one has an id of its own: that of the old
    one with :replay1; a job that has no row keeps its id.

    Examples:

      labelmill dead replay 019aa51c-7d52-7c1e-a5f0-0c5d5f2f1c11

      labelmill dead replay --model topics
    """

    def replay_one(letters: DeadLetters, letter: DeadLetter) -> dict[str, Any]:
        try:
            done = letters.replay(letter)
        except JobError as error:
            return {"replayed_as": None, "error": error.message}
        return {"replayed_as": letter.replay_id if done else None}

    _each(ids, model, everything, replay_one, "replayed_as", "replayed", as_json=as_json)


@dead.command()
def drop(
    ids: Ids = None, model: Model = None, everything: Everything = False, as_json: Json = False
) -> None:
    """Take dead letters off the list for good; the rows of their jobs stay.

    Example: labelmill dead drop --all
    """

    def drop_one(letters: DeadLetters, letter: DeadLetter) -> dict[str, Any]:
        return {"dropped": letters.drop(letter)}

    _each(ids, model, everything, drop_one, "dropped", "dropped", as_json=as_json)


def _each(
    ids: list[str] | None,
    model: str | None,
    everything: bool,
    act: Callable[[DeadLetters, DeadLetter], dict[str, Any]],
    key: str,
    word: str,
    *,
    as_json: bool,
) -> None:
    """Do something with each chosen letter, and tell what became of it."""
    done = left = 0
    with _letters() as (letters, _):
        for letter in _chosen(letters, ids or [], model, everything=everything):
            outcome = act(letters, letter)
            done, left = done + bool(outcome[key]), left + (not outcome[key])
            if as_json:
                print_json({"id": letter.id, "model": letter.queue} | outcome)
            elif "error" in outcome:
                _stderr.print(f"{letter.id}: {outcome['error']}", markup=False, highlight=False)
    _stderr.print(f"{done:,} {word}, {left:,} left alone", highlight=False)
    if left:
        raise typer.Exit(1)


@contextmanager
def _letters() -> Iterator[tuple[DeadLetters, Database]]:
    with (
        open_broker(BrokerSettings().broker_url) as broker,
        Database.open(DatabaseSettings().database_url) as database,
    ):
        yield DeadLetters(broker, database), database


def _queues(letters: DeadLetters, model: str | None) -> list[str]:
    return letters.queues() if model is None else [model]


def _chosen(
    letters: DeadLetters, ids: list[str], model: str | None, *, everything: bool
) -> Iterator[DeadLetter]:
    """The letters that the options name.

    Raises:
        ConfigurationError: they name none, or in two ways.
        LabelmillError: there is no letter of an id.
    """
    if sum((bool(ids), model is not None, everything)) != 1:
        raise ConfigurationError("give ids, --model or --all; see --help")
    missing = set(ids)
    for queue in _queues(letters, model):
        for letter in letters.of(queue):
            if not ids or letter.id in missing:
                missing.discard(letter.id)
                yield letter
    if missing:
        raise LabelmillError(
            f"no dead letter of {', '.join(sorted(missing))}; see labelmill dead list"
        )


def _described(letter: DeadLetter, database: Database) -> dict[str, Any]:
    """What can be said of a letter without what is in it."""
    row = database.results.get(letter.id)
    again = letter.replay_id != letter.id and database.jobs.get(letter.replay_id)
    job, enqueued_at = letter.content.job, letter.content.enqueued_at
    return {
        "id": letter.id,
        "model": letter.queue,
        "kind": None if job is None else "image" if job.image else "text",
        "bytes": len(letter.raw),
        "run": job.run if job else None,
        "enqueued_at": enqueued_at.isoformat() if enqueued_at else None,
        "died_at": row.finished_at.isoformat() if row else None,
        "attempts": row.attempt if row else None,
        "worker": row.worker if row else None,
        "reason": letter.reason or (row.error_message if row else None),
        "replayed_as": letter.replay_id if again else None,
    }


def _print_table(described: Iterator[dict[str, Any]]) -> None:
    table = Table(header_style="bold")
    table.add_column("job", overflow="fold")
    for name in ("model", "kind", "died", "why", "worker", "replayed as"):
        table.add_column(name, overflow="fold")
    for each in described:
        table.add_row(
            escape(each["id"]),
            escape(each["model"]),
            each["kind"] or "unreadable",
            (each["died_at"] or "")[:16].replace("T", " "),
            escape(each["reason"] or ""),
            escape(each["worker"] or ""),
            escape(each["replayed_as"] or ""),
        )
    if table.row_count:
        _stdout.print(table)
    else:
        _stderr.print("no dead letters")
