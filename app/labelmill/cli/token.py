"""The commands ``labelmill token``: who may submit to the gateway, and read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from labelmill.core.errors import ConfigurationError
from labelmill.core.settings import DatabaseSettings
from labelmill.db.database import Database
from labelmill.gateway.secrets import Scope, make

_stdout = Console()
_stderr = Console(stderr=True)

token = typer.Typer(
    name="token", help="Tokens of the gateway: who may submit and read.", no_args_is_help=True
)


@token.command()
def create(
    name: Annotated[str, typer.Argument(help="For whom it is, to be read by people.")],
    scope: Annotated[
        list[Scope] | None,
        typer.Option(help="What it allows; by default submit and read. Give it again for more."),
    ] = None,
) -> None:
    """Make a token and show it, this once.

    The database keeps a hash of it. From the first token on, the gateway asks everybody for one.

    Examples:

      labelmill token create web-app

      labelmill token create dashboard --scope read
    """
    secret, kept = make(name, scope or [Scope.SUBMIT, Scope.READ])
    with Database.open(DatabaseSettings().database_url) as database:
        database.tokens.add(kept)
    _stderr.print(f"token {kept.id} for {kept.scopes}; it is not shown again:", highlight=False)
    typer.echo(secret)


@token.command("list")
def list_tokens(
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object each.")] = False,
) -> None:
    """Show the tokens; never what their bearers send.

    Example: labelmill token list
    """
    with Database.open(DatabaseSettings().database_url) as database:
        tokens = database.tokens.all()
    if as_json:
        for each in tokens:
            revoked = each.revoked_at.isoformat() if each.revoked_at else None
            created = each.created_at.isoformat()
            fields = {"id": each.id, "name": each.name, "scopes": each.scopes.split()}
            typer.echo(json.dumps(fields | {"created_at": created, "revoked_at": revoked}))
        return
    # An id is there to be copied whole, however narrow the terminal is.
    moments = (Column(name, overflow="fold") for name in ("created", "revoked"))
    table = Table(Column("id", no_wrap=True), "name", "scopes", *moments)
    for each in tokens:
        at = (each.created_at, each.revoked_at)
        shown = [f"{moment:%Y-%m-%d %H:%M}" if moment else "" for moment in at]
        table.add_row(each.id, each.name, each.scopes, *shown)
    _stdout.print(table)


@token.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id, of the list.")],
) -> None:
    """Let a token be worth nothing, within a few seconds.

    Example: labelmill token revoke 019aa51c-7d52-7c1e-a5f0-0c5d5f2f1c11
    """
    with Database.open(DatabaseSettings().database_url) as database:
        done = database.tokens.revoke(token_id, datetime.now(UTC))
    if not done:
        raise ConfigurationError(f"there is no token {token_id}, or it was revoked before")
    _stderr.print("revoked", highlight=False)
