"""The migrations make the tables that the models describe, however often and at once they run."""

from __future__ import annotations

from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, Engine, inspect, text
from sqlalchemy.exc import IntegrityError

from labelmill.core.errors import DatabaseUnavailable, SchemaOutOfDate
from labelmill.db import schema
from labelmill.db.database import Database
from labelmill.db.jobs import Lane
from labelmill.db.tables import metadata

COMPARED = {"compare_type": True, "version_table": schema.VERSION_TABLE}


def set_revision(engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE labelmill_version SET version_num = :revision"), {"revision": revision}
        )


def day(number: int) -> str:
    """A time as both databases read it."""
    return f"'2026-01-{number:02} 00:00:00.000000'"


def test_the_head_is_alembic_s_and_follows_all_others() -> None:
    """It is found by the files' names, without Alembic."""
    scripts = ScriptDirectory(str(Path(schema.__file__).parent / "migrations"))
    assert [each.revision for each in scripts.walk_revisions()][::-1] == sorted(schema.known())
    assert scripts.get_heads() == [schema.head()]


def test_the_migrations_equal_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=COMPARED)
        assert compare_metadata(context, metadata) == []


def test_the_migrations_have_the_constraints_of_the_models(database: Database) -> None:
    # What compare_metadata does not look at.
    inspector = inspect(database.engine)
    for table in metadata.tables.values():
        described = {str(each.name) for each in table.constraints if type(each) is CheckConstraint}
        found = {each["name"] for each in inspector.get_check_constraints(table.name)}
        assert found == described
        assert inspector.get_pk_constraint(table.name)["name"] == table.primary_key.name


def test_an_unknown_status_is_refused(database: Database) -> None:
    names = [column.name for column in metadata.tables["results"].columns]
    values = ["'pending'" if name == "status" else "'1'" for name in names]
    moments = {"enqueued_at", "started_at", "finished_at"}
    values = [
        "'2026-05-17 12:00:00+00'" if name in moments else value
        for name, value in zip(names, values, strict=True)
    ]
    statement = f"INSERT INTO results ({', '.join(names)}) VALUES ({', '.join(values)})"

    with pytest.raises(IntegrityError, match="status"), database.engine.begin() as connection:
        connection.execute(text(statement))


def test_upgrade_says_what_it_did(bare_database_url: str) -> None:
    assert schema.upgrade(bare_database_url) == (None, schema.head())
    assert schema.upgrade(bare_database_url) == (schema.head(), schema.head())


def test_upgrades_at_the_same_time(bare_database_url: str) -> None:
    with get_context("spawn").Pool(4) as pool:
        upgrades = pool.map(schema.upgrade, [bare_database_url] * 8, chunksize=1)
        pool.close()
        pool.join()

    assert [each.after for each in upgrades] == [schema.head()] * 8
    assert [each.before for each in upgrades].count(None) == 1


def test_jobs_of_the_first_revision_are_due_when_they_were_sent_or_at_their_eta(
    bare_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        upgrade = command.upgrade
        patched.setattr(command, "upgrade", lambda config, _: upgrade(config, "0001"))
        schema.upgrade(bare_database_url)
    insert = (
        "INSERT INTO jobs (id, model, payload, priority, eta, enqueued_at)"
        """ VALUES (:id, 'q', '{"text": "x"}', 0, """
    )
    with Database.open(bare_database_url) as database:
        with database.engine.begin() as connection:
            for job_id, eta in (("none", "NULL"), ("before", day(1)), ("after", day(3))):
                connection.execute(text(f"{insert}{eta}, {day(2)})"), {"id": job_id})

        schema.upgrade(bare_database_url)

        assert database.jobs.get_many(["none"])["none"].payload == {"text": "x"}
        lane = database.jobs.page(Lane("q", 0), None, datetime.max.replace(tzinfo=UTC), 9)
        assert {entry.id: entry.due_at.day for entry in lane} == {
            "none": 2,
            "before": 2,
            "after": 3,
        }
        with database.engine.connect() as connection:
            # On SQLite the table was copied.
            context = MigrationContext.configure(connection, opts=COMPARED)
            assert compare_metadata(context, metadata) == []


class TestRequireCurrent:
    def test_a_migrated_database(self, database: Database) -> None:
        schema.require_current(database.engine)
        assert schema.current(database.engine) == schema.head()

    def test_a_bare_database(self, bare_database_url: str) -> None:
        with Database.open(bare_database_url) as database:
            assert schema.current(database.engine) is None
            with pytest.raises(SchemaOutOfDate, match=r"revision none .* labelmill db upgrade"):
                schema.require_current(database.engine)

    def test_a_database_of_a_newer_version(self, database: Database, database_url: str) -> None:
        set_revision(database.engine, "9999")

        with pytest.raises(SchemaOutOfDate, match=r"9999.*newer"):
            schema.require_current(database.engine)
        with pytest.raises(SchemaOutOfDate, match=r"9999.*newer"):
            schema.upgrade(database_url)

    def test_several_revisions(self, database: Database, database_url: str) -> None:
        with database.engine.begin() as connection:
            connection.execute(text("INSERT INTO labelmill_version VALUES ('abc')"))

        for ask in (schema.current, schema.require_current):
            with pytest.raises(SchemaOutOfDate, match=r"\(0004, abc\).*by hand"):
                ask(database.engine)
        with pytest.raises(SchemaOutOfDate, match="by hand"):
            schema.upgrade(database_url)

    def test_a_database_that_does_not_answer(self) -> None:
        url = "postgresql://nobody@127.0.0.1:1/labelmill"
        with Database.open(url) as database, pytest.raises(DatabaseUnavailable):
            schema.require_current(database.engine)
