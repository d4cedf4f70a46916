"""The version of the database: which migrations have run, and running the rest.

Other applications may have their tables in the same database, and their version in Alembic's
``alembic_version``. Ours is in a table of its own. Versions of Labelmill before that one kept it in
``alembic_version``, too: there it is moved from.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    delete,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError

from labelmill.core.errors import ConfigurationError, SchemaOutOfDate
from labelmill.db.connection import (
    create_database_engine,
    for_writing,
    patiently,
    schema_of,
    shown,
)
from labelmill.db.errors import once_more, translated
from labelmill.db.tables import metadata

_MIGRATIONS = Path(__file__).parent / "migrations"

VERSION_TABLE = "labelmill_version"
"""Alembic's table of one row, or none, by a name that no other application gives it."""


def _version_table(name: str) -> Table:
    # As Alembic makes it; looked at without it, whose import is a quarter of a worker's start.
    return Table(
        name,
        MetaData(),
        Column("version_num", String(32), nullable=False),
        PrimaryKeyConstraint("version_num", name=f"{name}_pkc"),
    )


_VERSION = _version_table(VERSION_TABLE)
_ANYBODYS_VERSION = _version_table("alembic_version")

# The columns that the first three tables have had from the first revision on: where they are, the
# tables are ours, whatever revisions somebody else numbers in the same way.
_OURS = {
    "runs": {"id", "model", "source", "submitted", "created_at"},
    "jobs": {"id", "run_id", "model", "payload", "priority", "eta", "expires_at", "enqueued_at"},
    "results": {
        *("id", "run_id", "model", "checkpoint", "revision", "status", "label", "score", "scores"),
        *("error_code", "error_message", "attempt", "group_size", "worker", "started_at"),
    },
}
# What each revision brought that was ever written down in alembic_version.
_MARKS = {
    "0004": ("runs", "plan"),
    "0003": ("tokens", "hash"),
    "0002": ("jobs", "due_at"),
    "0001": ("jobs", "id"),
}

_TAKEN = ("42P07", "42710")  # a duplicate table or index, a duplicate type or constraint

# Any number will do, if nobody else uses it: it spells "labelmil" in ASCII.
_UPGRADE_LOCK = 0x6C6162656C6D696C


class Upgraded(NamedTuple):
    """From which revision an upgrade went to which."""

    before: str | None
    after: str


def upgrade(url: str, schema: str | None = None) -> Upgraded:
    """Bring the database at ``url`` to this version, in one transaction.

    Processes that upgrade at the same time wait for the first; the others find nothing to do.

    Parameters:
        schema: as for :func:`labelmill.db.connection.create_database_engine`; made if missing.

    Raises:
        ConfigurationError: if the URL cannot be used, the database's encoding is not UTF8, or
            another application's tables have the names of ours.
        DatabaseUnavailable: if the database cannot be reached.
        SchemaOutOfDate: if a newer version of Labelmill has migrated it.
    """
    from alembic import command
    from alembic.config import Config

    engine = create_database_engine(url, schema)
    try:
        with translated(engine), for_writing(engine).begin() as connection, patiently(connection):
            _require_unicode(connection)
            _wait_for_other_upgrades(connection)
            before = prepare(connection)
            config = Config(_MIGRATIONS / "alembic.ini")
            config.attributes["connection"] = connection
            with _named_collisions(engine):
                command.upgrade(config, "head")
    finally:
        engine.dispose()
    return Upgraded(before, head())


def prepare(connection: Connection) -> str | None:
    """Make ready what a migration needs, within its transaction; returns the revision.

    That is the schema, if Labelmill has one of its own, and the table with the version. What others
    keep in ``alembic_version`` stays there.

    Raises:
        ConfigurationError: if other tables have the names of ours, or the schema cannot be made.
        SchemaOutOfDate: if a newer version of Labelmill has migrated the database.
    """
    schema = schema_of(connection)
    if schema is not None:
        _make_schema(connection, schema)
        # For the migrations, whose statements name no schema; it ends with the transaction.
        connection.execute(text(f'SET LOCAL search_path TO "{schema}"'))
    revision = _revision(connection)
    _require_known(revision, connection.engine)
    if revision is None:
        _require_free_names(connection)
    elif not _revisions(connection, _VERSION):
        _move_version(connection, revision)
    return revision


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
    revisions = _revisions(connection, _VERSION)
    if len(revisions) > 1:
        raise SchemaOutOfDate(
            f"the table {VERSION_TABLE} has several revisions ({', '.join(sorted(revisions))}): it"
            " has been written to by hand; leave the right one"
        )
    return revisions[0] if revisions else _revision_of_tables(connection)


def _revisions(connection: Connection, table: Table) -> list[str]:
    if not inspect(connection).has_table(table.name, schema_of(connection)):
        return []
    return list(connection.scalars(select(table.c.version_num)))


def _revision_of_tables(connection: Connection) -> str | None:
    """The revision that the tables are of, if they are ours, of a version before this one."""
    schema, inspector = schema_of(connection), inspect(connection)
    columns = {
        name: {each["name"] for each in inspector.get_columns(name, schema)}
        for name in metadata.tables
        if inspector.has_table(name, schema)
    }
    if any(not names <= columns.get(table, set()) for table, names in _OURS.items()):
        return None
    return next(
        revision for revision, (table, name) in _MARKS.items() if name in columns.get(table, set())
    )


def _move_version(connection: Connection, revision: str) -> None:
    """Write the revision down in a table of our own, and take it out of everybody's."""
    _VERSION.create(connection, checkfirst=True)
    connection.execute(insert(_VERSION).values(version_num=revision))
    if revision in _revisions(connection, _ANYBODYS_VERSION):
        ours = _ANYBODYS_VERSION.c.version_num == revision
        connection.execute(delete(_ANYBODYS_VERSION).where(ours))
        if not _revisions(connection, _ANYBODYS_VERSION):
            _ANYBODYS_VERSION.drop(connection)


def _make_schema(connection: Connection, schema: str) -> None:
    # Not IF NOT EXISTS: that needs the right to make one even where it is there.
    if inspect(connection).has_schema(schema):
        return
    try:
        connection.execute(text(f'CREATE SCHEMA "{schema}"'))
    except DBAPIError as error:
        user = connection.engine.url.username
        raise ConfigurationError(
            f"there is no schema {schema}, and it cannot be made: {_first_line(error)}. Have the"
            f" database's owner run: CREATE SCHEMA {schema} AUTHORIZATION {user}"
        ) from None


def _require_free_names(connection: Connection) -> None:
    schema, inspector = schema_of(connection), inspect(connection)
    taken = [name for name in metadata.tables if inspector.has_table(name, schema)]
    if taken:
        raise _collision(connection.engine, f"tables that are not Labelmill's: {', '.join(taken)}")


@contextmanager
def _named_collisions(engine: Engine) -> Iterator[None]:
    """Say what is in the way of a table or an index that a migration makes."""
    try:
        yield
    except DBAPIError as error:
        line = _first_line(error)
        if "already exists" in line or getattr(error.orig, "sqlstate", None) in _TAKEN:
            raise _collision(engine, f"a thing of a name that Labelmill needs: {line}") from None
        raise


def _collision(engine: Engine, what: str) -> ConfigurationError:
    out = "set LABELMILL_DATABASE_URL to another file"
    if engine.dialect.name == "postgresql":
        out = (
            "give Labelmill a schema of its own, LABELMILL_DATABASE_SCHEMA=labelmill, or another"
            " database"
        )
    return ConfigurationError(
        f"the database {shown(engine.url)} has {what}. Nothing was changed: {out}"
    )


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).partition("\n")[0]


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
