"""The front door: one command, its subcommands from the rooms."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

import bench.cli
import db.cli
import demo.cli
import embedded.cli
import producer.announce.cli
import producer.bulk.cli
import producer.cli
import producer.export.cli
import producer.export.evaluation
import producer.gateway.cli
import producer.recovery.cli
import worker.cli
from db.errors import ConfigurationError, LabelmillError, ServiceUnavailable
from embedded.errors import EmbeddedServerError

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 3
EXIT_INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback(invoke_without_command=True)
def labelmill(
    show_version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Hugging Face classifiers behind a queue: exactly one row a job.

    Settings come from the environment (LABELMILL_BROKER_URL, LABELMILL_DATABASE_URL, …) and from
    models.toml. Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 Redis or the database
    away, 4 done but for rows that were rejected, 130 interrupted.
    """
    if show_version:
        typer.echo(version("labelmill"))
        raise typer.Exit


app.command()(demo.cli.demo)
app.command()(embedded.cli.up)
app.command()(worker.cli.worker)
app.command()(producer.gateway.cli.serve)
app.command()(producer.bulk.cli.submit)
app.command()(producer.cli.status)
app.command()(producer.export.cli.results)
app.command("evaluate")(producer.export.evaluation.evaluate_run)
app.command()(producer.announce.cli.webhook)
app.command()(worker.cli.health)
app.command()(producer.recovery.cli.reconcile)
app.command()(bench.cli.bench)
app.add_typer(producer.recovery.cli.dead, name="dead")
app.add_typer(producer.gateway.cli.token, name="token")
app.add_typer(db.cli.app, name="db")


def main() -> None:
    """Run the command line; every error of ours becomes one line and an exit code."""
    try:
        app(prog_name="labelmill")
    except (LabelmillError, EmbeddedServerError) as error:
        Console(stderr=True).print(
            f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True
        )
        sys.exit(_exit_code(error))
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def _exit_code(error: Exception) -> int:
    if isinstance(error, ConfigurationError):
        return EXIT_USAGE
    if isinstance(error, ServiceUnavailable):
        return EXIT_UNAVAILABLE
    return EXIT_FAILURE


if __name__ == "__main__":
    main()
