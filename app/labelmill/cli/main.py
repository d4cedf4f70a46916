"""The command ``labelmill``: its subcommands, each a module of this room."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

from labelmill.core import exit_codes
from labelmill.core.errors import ConfigurationError, LabelmillError


class CommandRef(NamedTuple):
    """Where a command or a group of them is, what the list says of it, and which extra it needs."""

    module: str
    name: str
    summary: str
    extra: str = "cli"


COMMANDS: Mapping[str, CommandRef] = {
    "demo": CommandRef(
        "labelmill.cli.demo",
        "demo",
        "Label a few hundred held-out texts and images, and show what came out.",
        "demo",
    ),
    "init": CommandRef(
        "labelmill.cli.init",
        "init",
        "Write a models.toml to begin with, and the demo's models and samples beside it.",
    ),
    "up": CommandRef(
        "labelmill.cli.up",
        "up",
        "Run Redis, a SQLite database, a worker, the reconciler and the gateway until Ctrl-C.",
    ),
    "worker": CommandRef(
        "labelmill.cli.worker",
        "worker",
        "Run a worker: take groups of jobs, run the models, write the rows.",
        "worker",
    ),
    "serve": CommandRef("labelmill.cli.serve", "serve", "Serve the HTTP API and the page."),
    "submit": CommandRef(
        "labelmill.cli.submit",
        "submit",
        "Submit one job, or many from files, folders and streams of any size.",
    ),
    "cancel": CommandRef(
        "labelmill.cli.cancel",
        "cancel",
        "Withdraw jobs that have no result yet: each gets a row, failed / revoked, and no other.",
    ),
    "status": CommandRef(
        "labelmill.cli.status", "status", "Show queues, workers and the newest runs."
    ),
    "results": CommandRef("labelmill.cli.results", "results", "Show or export results."),
    "evaluate": CommandRef(
        "labelmill.cli.evaluate",
        "evaluate_run",
        "Hold a run's labels against the right ones: accuracy, precision, recall, F1, confusion.",
    ),
    "webhook": CommandRef(
        "labelmill.cli.webhook",
        "webhook",
        "POST finished jobs to LABELMILL_WEBHOOK_URL, signed with LABELMILL_WEBHOOK_SECRET.",
    ),
    "health": CommandRef(
        "labelmill.cli.health",
        "health",
        "Say whether a worker lives and has its models: exit code 0 if so, else 3.",
    ),
    "reconcile": CommandRef(
        "labelmill.cli.reconcile",
        "reconcile",
        "Find the jobs that Redis has lost, and send each of them again.",
    ),
    "bench": CommandRef(
        "labelmill.cli.bench",
        "bench",
        "Measure a model of models.toml here, against transformers.pipeline, and size its groups.",
    ),
    "dead": CommandRef(
        "labelmill.cli.dead",
        "dead",
        "Dead letters: jobs that ended their worker each time, or whose rows were refused.",
    ),
    "token": CommandRef(
        "labelmill.cli.token",
        "token",
        "Tokens of the gateway: who may submit and read.",
    ),
    "db": CommandRef("labelmill.cli.db", "app", "The results database and its version."),
}


# Any stands for the classes of click, of which newer versions of typer bring their own.
class LazyGroup(TyperGroup):
    """Imports a command when it is run: all together take seconds to import."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, in the order in which they are listed."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """What is listed of a command; what is run comes from :meth:`resolve_command`."""
        place = COMMANDS.get(cmd_name)
        return place and TyperCommand(cmd_name, help=place.summary)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the arguments begin with, out of its module."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed and command(listed.name or ""), rest


@cache
def command(name: str) -> Any:
    """One of :data:`COMMANDS`, imported.

    Raises:
        ConfigurationError: a package that it needs is not installed.
    """
    place = COMMANDS[name]
    try:
        found: Any = getattr(import_module(place.module), place.name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{error.name} is not installed; pip install 'labelmill[{place.extra}]'"
        ) from error
    alone = _typer()
    if isinstance(found, typer.Typer):
        alone.add_typer(found, name=name)
    else:
        alone.command(name)(found)
    return typer.main.get_group(alone).commands[name]


def _typer(cls: type[TyperGroup] = TyperGroup) -> typer.Typer:
    return typer.Typer(
        cls=cls,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
    )


app = _typer(LazyGroup)


@app.callback(invoke_without_command=True)
def labelmill(
    show_version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Hugging Face classifiers behind a queue: exactly one row a job.

    Settings come from the environment (LABELMILL_BROKER_URL, LABELMILL_DATABASE_URL, …) and from
    models.toml. Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 Redis or the database
    away, 4 done but for rows that were rejected, 75 the device was lost, 130 interrupted.
    """
    if show_version:
        typer.echo(version("labelmill"))
        raise typer.Exit


def main() -> None:
    """Run the command line; every error of ours becomes one line and an exit code."""
    try:
        app(prog_name="labelmill")
    except LabelmillError as error:
        _print_error(str(error))
        sys.exit(exit_codes.of(error))
    except MemoryError:
        _print_error("there is too little memory for this command")
        sys.exit(exit_codes.FAILURE)
    except KeyboardInterrupt:
        sys.exit(exit_codes.INTERRUPTED)


def _print_error(message: str) -> None:
    try:
        Console(stderr=True).print(
            f"[bold red]error:[/] {escape(message)}", highlight=False, soft_wrap=True
        )
    except MemoryError:  # colours take some, too
        sys.stderr.write(f"error: {message}\n")
