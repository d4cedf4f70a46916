"""The version of the database: which migrations have run, and running the rest."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text

from labelmill.core.errors import SchemaOutOfDate
from labelmill.db.connection import create_database_engine, for_writing, shown
from labelmill.db.errors import translated

_ALEMBIC_INI = Path(__file__).parent / "migrations" / "alembic.ini"

# Any number will do, if nobody else uses it: it spells "labelmil" in ASCII.
_UPGRADE_LOCK = 0x6C6162656C6D696C


class Upgraded(NamedTuple):
    """From which revision an upgrade went to which."""

    before: str | None
    after: str


def upgrade(url: str) -> Upgraded:
    """Bring the database at ``url`` to this version, in one transaction.

    Processes that upgrade at the same time wait for the first; the others find nothing to do.

    Raises:
        ConfigurationError: if the URL cannot be used.
        DatabaseUnavailable: if the database cannot be reached.
        SchemaOutOfDate: if a newer version of Labelmill has migrated it.
    """
    engine = create_database_engine(url)
    try:
        with translated(engine), for_writing(engine).begin() as connection:
            _wait_for_other_upgrades(connection)
            before = MigrationContext.configure(connection).get_current_revision()
            _require_known(before, engine)
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()
    return Upgraded(before, head())


def current(engine: Engine) -> str | None:
    """The revision of the database, or None if it has no tables of Labelmill.

    Raises:
        DatabaseUnavailable: if the database cannot be reached.
    """
    with translated(engine), engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str:
    """The revision that this version of Labelmill works with."""
    (revision,) = ScriptDirectory.from_config(_config()).get_heads()
    return revision


def require_current(engine: Engine) -> None:
    """Check that the database is of this version.

    Raises:
        SchemaOutOfDate: if it is older or newer.
        DatabaseUnavailable: if it cannot be reached.
    """
    revision, wanted = current(engine), head()
    if revision == wanted:
        return
    _require_known(revision, engine)
    raise SchemaOutOfDate(
        f"the database {shown(engine.url)} is at revision {revision or 'none'} and this version"
        f" needs {wanted}; run: labelmill db upgrade"
    )


def _config() -> Config:
    return Config(_ALEMBIC_INI)


def _wait_for_other_upgrades(connection: Connection) -> None:
    # On SQLite the transaction began as the only writer; PostgreSQL needs a lock of its own. It
    # goes with the transaction, however that ends.
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _UPGRADE_LOCK})


def _require_known(revision: str | None, engine: Engine) -> None:
    if revision is None:
        return
    try:
        ScriptDirectory.from_config(_config()).get_revision(revision)
    except CommandError as error:
        raise SchemaOutOfDate(
            f"the database {shown(engine.url)} is at revision {revision}, which this version does"
            " not know: a newer one migrated it; upgrade labelmill"
        ) from error
