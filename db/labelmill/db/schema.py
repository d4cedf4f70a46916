"""The version of the database: which migrations have run, and running the rest."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, inspect, select, text

from labelmill.core.errors import ConfigurationError, SchemaOutOfDate
from labelmill.db.connection import create_database_engine, for_writing, patiently, shown
from labelmill.db.errors import once_more, translated

_MIGRATIONS = Path(__file__).parent / "migrations"

# Alembic's own; of one row, or none. Looked at without Alembic, whose import is a quarter of a
# worker's start.
_VERSION = Table("alembic_version", MetaData(), Column("version_num", String))

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
        ConfigurationError: if the URL cannot be used, or the database's encoding is not UTF8.
        DatabaseUnavailable: if the database cannot be reached.
        SchemaOutOfDate: if a newer version of Labelmill has migrated it.
    """
    from alembic import command
    from alembic.config import Config

    engine = create_database_engine(url)
    try:
        with translated(engine), for_writing(engine).begin() as connection, patiently(connection):
            _require_unicode(connection)
            _wait_for_other_upgrades(connection)
            before = _revision(connection)
            _require_known(before, engine)
            config = Config(_MIGRATIONS / "alembic.ini")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()
    return Upgraded(before, head())


@once_more
def current(engine: Engine) -> str | None:
    """The revision of the database, or None if it has no tables of Labelmill.

    Raises:
        DatabaseUnavailable: if the database cannot be reached.
    """
    with translated(engine), engine.connect() as connection:
        return _revision(connection)


def known() -> set[str]:
    """The revisions that this version knows, numbered in their order: 0001_first_tables.py."""
    return {file.name.partition("_")[0] for file in (_MIGRATIONS / "versions").glob("[0-9]*_*.py")}


def head() -> str:
    """The revision that this version of Labelmill works with."""
    return max(known())


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


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_VERSION.name):
        return None
    revisions = connection.scalars(select(_VERSION.c.version_num)).all()
    if len(revisions) > 1:
        raise SchemaOutOfDate(
            f"the table {_VERSION.name} has several revisions ({', '.join(sorted(revisions))}):"
            " does another application keep its own there? Give Labelmill a database of its own"
        )
    return revisions[0] if revisions else None


def _wait_for_other_upgrades(connection: Connection) -> None:
    # On SQLite the transaction began as the only writer; PostgreSQL needs a lock of its own. It
    # goes with the transaction, however that ends.
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _UPGRADE_LOCK})


def _require_unicode(connection: Connection) -> None:
    if connection.dialect.name != "postgresql":
        return
    encoding = connection.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise ConfigurationError(
            f"the database {shown(connection.engine.url)} has the encoding {encoding}, which cannot"
            " hold every text; make another: CREATE DATABASE labelmill ENCODING 'UTF8' TEMPLATE"
            " template0"
        )


def _require_known(revision: str | None, engine: Engine) -> None:
    if revision is not None and revision not in known():
        raise SchemaOutOfDate(
            f"the database {shown(engine.url)} is at revision {revision}, which this version does"
            " not know: a newer one migrated it; upgrade labelmill"
        )
