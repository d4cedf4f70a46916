"""The command ``labelmill db``: the database and its version."""

from __future__ import annotations

from typing import Annotated

import typer

from labelmill.core.settings import DatabaseSettings
from labelmill.db import schema
from labelmill.db.connection import create_database_engine

app = typer.Typer(name="db", help="The results database and its version.", no_args_is_help=True)

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="Another database than that of LABELMILL_DATABASE_URL.",
        show_default=False,
    ),
]


@app.command()
def upgrade(database_url: DatabaseUrl = None) -> None:
    """Create the tables, or bring them to this version.

    It is safe to run at any time and from several places at once.

    Example: labelmill db upgrade --database-url postgresql://labelmill@localhost/labelmill
    """
    before, after = schema.upgrade(_url(database_url))
    if before == after:
        typer.echo(f"nothing to do: the database is at revision {after}")
    else:
        typer.echo(f"upgraded from revision {before or 'none'} to {after}")


@app.command()
def current(database_url: DatabaseUrl = None) -> None:
    """Show the revision of the database and the one that this version needs.

    Example: labelmill db current
    """
    engine = create_database_engine(_url(database_url))
    try:
        revision = schema.current(engine)
    finally:
        engine.dispose()
    typer.echo(f"revision {revision or 'none'}; this version needs {schema.head()}")


def _url(given: str | None) -> str:
    return given or DatabaseSettings().database_url
