"""Labelmill in a database with others: Alembic's and Django's migrations, tables of the same names,
and another Labelmill.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from labelmill.client import Client, NewJob
from labelmill.core.errors import ConfigurationError, SchemaOutOfDate
from labelmill.core.run import Run
from labelmill.db import schema
from labelmill.db.connection import create_database_engine
from labelmill.db.database import Database
from labelmill.db.filters import ResultFilter
from labelmill.db.tables import Token, metadata
from tests.support.counting import database_of
from tests.support.rows import NOON, a_job, a_result, all_results
from tests.support.worker import Workers

OURS = {*metadata.tables, schema.VERSION_TABLE}

_ENV = """
from alembic import context
from sqlalchemy import create_engine

engine = create_engine(context.config.attributes["url"])
with engine.begin() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
"""
_MIGRATION = """
from alembic import op

revision = "{revision}"
down_revision = {before!r}


def upgrade():
    op.execute("CREATE TABLE {table} (id INTEGER)")


def downgrade():
    op.execute("DROP TABLE {table}")
"""


@pytest.fixture
def their_alembic(tmp_path: Path, bare_database_url: str) -> Callable[[str], None]:
    """Another application's Alembic, whose revisions are numbered as ours; upgrades to one."""
    folder = tmp_path / "theirs"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(_ENV)
    for before, revision, table in ((None, "0001", "tickets"), ("0001", "0002", "customers")):
        (folder / "versions" / f"{revision}.py").write_text(
            _MIGRATION.format(revision=revision, before=before, table=table)
        )
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = create_database_engine(bare_database_url).url
    return lambda revision: command.upgrade(config, revision)


def tables_of(url: str) -> set[str]:
    engine = create_database_engine(url)
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def run(url: str, *statements: str) -> None:
    engine = create_database_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def revisions(url: str, table: str) -> list[str]:
    engine = create_database_engine(url)
    try:
        with engine.connect() as connection:
            return sorted(connection.scalars(text(f"SELECT version_num FROM {table}")))
    finally:
        engine.dispose()


def as_before(url: str, *theirs: str, place: str = "") -> None:
    """Have the version where the versions of Labelmill before this one kept it."""
    [revision] = revisions(url, f"{place}{schema.VERSION_TABLE}")
    run(
        url,
        f"DROP TABLE {place}{schema.VERSION_TABLE}",
        f"CREATE TABLE {place}alembic_version"
        " (version_num VARCHAR(32), CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))",
        *(f"INSERT INTO {place}alembic_version VALUES ('{each}')" for each in (revision, *theirs)),
    )


class TestAlembic:
    def test_theirs_first(
        self, bare_database_url: str, their_alembic: Callable[[str], None]
    ) -> None:
        url = bare_database_url
        their_alembic("0001")
        with Database.open(url) as database:
            assert schema.current(database.engine) is None
        assert schema.upgrade(url) == (None, schema.head())
        their_alembic("0002")
        assert schema.upgrade(url) == (schema.head(), schema.head())
        assert tables_of(url) == OURS | {"alembic_version", "tickets", "customers"}
        assert revisions(url, "alembic_version") == ["0002"]

    def test_ours_first(self, bare_database_url: str, their_alembic: Callable[[str], None]) -> None:
        url = bare_database_url
        schema.upgrade(url)
        assert tables_of(url) == OURS
        their_alembic("0002")
        assert schema.upgrade(url) == (schema.head(), schema.head())
        assert revisions(url, "alembic_version") == ["0002"]

    def test_the_version_is_moved_from_where_it_was(
        self, bare_database_url: str, their_alembic: Callable[[str], None]
    ) -> None:
        url = bare_database_url
        schema.upgrade(url)
        as_before(url)
        with Database.open(url) as database:
            schema.require_current(database.engine)  # a worker need not wait for the upgrade
        assert schema.upgrade(url) == (schema.head(), schema.head())
        assert tables_of(url) == OURS
        their_alembic("0002")
        assert schema.upgrade(url) == (schema.head(), schema.head())

    def test_theirs_that_is_beside_ours_stays(self, bare_database_url: str) -> None:
        url = bare_database_url
        schema.upgrade(url)
        as_before(url, "abc")
        schema.upgrade(url)
        assert revisions(url, "alembic_version") == ["abc"]
        assert revisions(url, schema.VERSION_TABLE) == [schema.head()]

    def test_tables_of_ours_whose_version_somebody_has_purged(self, bare_database_url: str) -> None:
        """What people do about "Can't locate revision": ``alembic stamp --purge head``."""
        url = bare_database_url
        schema.upgrade(url)
        as_before(url)
        run(url, "UPDATE alembic_version SET version_num = 'abc'")
        assert schema.upgrade(url) == (schema.head(), schema.head())
        assert revisions(url, "alembic_version") == ["abc"]

    def test_upgrades_at_the_same_time_move_it_once(self, bare_database_url: str) -> None:
        schema.upgrade(bare_database_url)
        as_before(bare_database_url)
        with get_context("spawn").Pool(3) as pool:
            upgrades = pool.map(schema.upgrade, [bare_database_url] * 6, chunksize=1)
            pool.close()
            pool.join()
        assert upgrades == [(schema.head(), schema.head())] * 6
        assert tables_of(bare_database_url) == OURS
        assert revisions(bare_database_url, schema.VERSION_TABLE) == [schema.head()]

    @pytest.mark.parametrize("revision", ["0001", "0002", "0003"])
    def test_older_tables_of_ours(
        self, bare_database_url: str, revision: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = bare_database_url
        with monkeypatch.context() as patched:
            upgrade = command.upgrade
            patched.setattr(command, "upgrade", lambda config, _: upgrade(config, revision))
            schema.upgrade(url)
        as_before(url)
        assert schema.upgrade(url) == (revision, schema.head())
        assert tables_of(url) == OURS


_DJANGO = """
import sys, django
from django.conf import settings
from django.core.management import call_command

kind, name, user, password, host, port = sys.argv[1:]
settings.configure(
    USE_TZ=True,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    DATABASES={"default": {"ENGINE": f"django.db.backends.{kind}", "NAME": name, "USER": user,
                           "PASSWORD": password, "HOST": host, "PORT": port}},
)
django.setup()
call_command("migrate", verbosity=0)
call_command("migrate", check_unapplied=True, verbosity=0)
"""


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_django_s_migrations(bare_database_url: str, first: str) -> None:
    url = make_url(bare_database_url)
    kind = "sqlite3" if url.get_backend_name() == "sqlite" else "postgresql"
    host = url.host or url.query.get("host")
    words = [kind, url.database, url.username, url.password, host, url.port]

    def migrate() -> None:
        subprocess.run(
            [sys.executable, "-c", _DJANGO, *(str(each or "") for each in words)], check=True
        )

    for step in (migrate, schema.upgrade) if first == "theirs" else (schema.upgrade, migrate):
        step(*([bare_database_url] if step is schema.upgrade else []))
    with Database.open(bare_database_url) as database:
        schema.require_current(database.engine)
    assert tables_of(bare_database_url) > OURS | {"auth_user", "django_migrations"}


@pytest.mark.parametrize(
    ("theirs", "named"),
    [
        (["CREATE TABLE jobs (id INTEGER, title TEXT)"], "jobs"),
        (
            [
                "CREATE TABLE runs (id INTEGER)",
                "CREATE TABLE results (id INTEGER)",
                "CREATE TABLE tokens (id INTEGER)",
            ],
            "runs, results, tokens",
        ),
        (["CREATE VIEW jobs AS SELECT 1 AS id"], "jobs"),
        (
            ["CREATE TABLE tasks (id INTEGER)", "CREATE INDEX ix_jobs_run_id ON tasks (id)"],
            "ix_jobs_run_id",
        ),
    ],
)
def test_what_has_our_names_and_is_not_ours_is_one_line(
    bare_database_url: str, theirs: list[str], named: str
) -> None:
    run(bare_database_url, *theirs)
    before = tables_of(bare_database_url)
    with pytest.raises(ConfigurationError) as raised:
        schema.upgrade(bare_database_url)
    message = str(raised.value)
    assert named in message
    assert "\n" not in message
    way_out = "LABELMILL_DATABASE_SCHEMA" if "postgresql" in bare_database_url else "another file"
    assert way_out in message
    assert tables_of(bare_database_url) == before
    with Database.open(bare_database_url) as database, pytest.raises(SchemaOutOfDate):
        schema.require_current(database.engine)


@pytest.fixture
def occupied_url(postgresql_url: str) -> str:
    """A database whose usual schema has other tables by our names."""
    tables = [*metadata.tables, schema.VERSION_TABLE]
    run(postgresql_url, *(f"DROP TABLE {name}" for name in tables))
    run(postgresql_url, *(f"CREATE TABLE {name} (id INTEGER)" for name in tables))
    return postgresql_url


@pytest.fixture
def in_schema(occupied_url: str) -> Iterator[Callable[[str], Database]]:
    """Labelmills in schemas of that database."""
    opened: list[Database] = []

    def open_in(name: str) -> Database:
        schema.upgrade(occupied_url, name)
        opened.append(Database.open(occupied_url, name))
        return opened[-1]

    yield open_in
    for each in opened:
        each.close()


class TestSchema:
    def test_two_labelmills_in_one_database(
        self, occupied_url: str, in_schema: Callable[[str], Database]
    ) -> None:
        one, two = in_schema("one"), in_schema("two")
        assert schema.upgrade(occupied_url, "one") == (schema.head(), schema.head())
        for database in (one, two):
            schema.require_current(database.engine)
            assert database.jobs.add([a_job("a"), a_job("b")]) == set()
            assert database.jobs.add([a_job("a")]) == {"a"}
            assert database.results.write([a_result("a")]) == 1
        assert one.results.write([a_result("b")]) == 1
        assert [len(all_results(each)) for each in (one, two)] == [2, 1]

    def test_every_query_is_made_there(self, in_schema: Callable[[str], Database]) -> None:
        database = in_schema("mill")
        at, later = datetime.now(UTC), datetime.now(UTC) + timedelta(hours=1)
        assert database.runs.add(Run("r", model="topics", source="s", created_at=NOON))
        job = a_job("a", run_id="r", payload={"text": "parcel"})
        assert database.runs.add_jobs(Run("r", model="topics", source="s", created_at=NOON), [job])
        database.runs.finish("r", at)
        assert database.jobs.claim_unsent(["a"], at)
        [lane] = database.jobs.lanes()
        assert [each.id for each in database.jobs.page(lane, None, later, 9)] == ["a"]
        assert database.jobs.claim_lost(["a"], later, at)
        row = a_result("a", run_id="r")
        assert database.results.takes(row)
        assert database.results.write([row]) == 1
        assert database.results.write([row]) == 0
        wanted = ResultFilter(text="parcel")
        assert [each.id for each in database.results.page(wanted, 9).results] == ["a"]
        assert database.results.summary(wanted)
        assert [each.input for each in database.results.oldest_first(wanted)] == ["parcel"]
        assert len(list(database.results.outlines(wanted))) == 1
        assert database.results.counts()["topics"].succeeded == 1
        progress = database.runs.progress("r")
        assert progress is not None
        assert progress.succeeded == 1
        assert database.runs.throughput("r").buckets
        database.tokens.add(Token("t", "t", "0" * 64, "read", at))
        assert database.tokens.revoke("t", at)
        database.jobs.remove(["a"])
        assert database.jobs.get("a") is None

    def test_a_worker_and_its_command_line(
        self, redis_url: str, occupied_url: str, workers: Workers
    ) -> None:
        workers.database_url = occupied_url
        workers.configure(database_schema="mill")
        words = [sys.executable, "-m", "labelmill"]
        subprocess.run([*words, "db", "upgrade"], env=workers.environment(), check=True)
        workers.start()
        with Client(redis_url, occupied_url, "mill") as client:
            ids = client.submit_many("scripted", [NewJob(text=f"t{n}") for n in range(9)]).ids
            assert {client.wait(each).status for each in ids} == {"succeeded"}
        shown = subprocess.run(
            [*words, "results", "--json"], env=workers.environment(), check=True, stdout=-1
        )
        assert len(shown.stdout.splitlines()) == 9

    def test_jobs_within_a_transaction(
        self, redis_url: str, occupied_url: str, in_schema: Callable[[str], Database]
    ) -> None:
        """The caller's connection knows nothing of our schema, or makes something else of names."""
        database = in_schema("mill")
        url = create_database_engine(occupied_url).url
        theirs = create_engine(url).execution_options(schema_translate_map={None: "elsewhere"})
        with Client(redis_url, occupied_url, "mill") as client:
            with Session(theirs) as session, session.begin():
                by_session = client.enqueue(session, "q", text="hello")
            with theirs.begin() as connection:
                by_connection = client.enqueue(connection, "q", text="hello")
            with psycopg.connect(occupied_url.replace("+psycopg", "")) as driver:
                by_django = client.enqueue(LikeDjango(driver), "q", text="hello")
        assert set(database.jobs.get_many([by_session, by_connection, by_django])) == {
            by_session,
            by_connection,
            by_django,
        }
        theirs.dispose()

    def test_a_caller_s_map_of_schemas_is_not_ours(
        self, redis_url: str, postgresql_url: str
    ) -> None:
        engine = create_database_engine(postgresql_url)
        theirs = engine.execution_options(schema_translate_map={None: "elsewhere"})
        with Client(redis_url, postgresql_url) as client:
            with theirs.begin() as connection:
                job_id = client.enqueue(connection, "q", text="hello")
            assert database_of(client).jobs.get(job_id) is not None
        engine.dispose()

    def test_the_version_before_is_moved_within_a_schema(self, occupied_url: str) -> None:
        """Whose role had a search path of its own."""
        schema.upgrade(occupied_url, "mill")
        as_before(occupied_url, place="mill.")
        assert schema.upgrade(occupied_url, "mill") == (schema.head(), schema.head())
        assert revisions(occupied_url, f"mill.{schema.VERSION_TABLE}") == [schema.head()]

    def test_a_role_that_may_not_make_it(self, postgresql_url: str) -> None:
        run(postgresql_url, "DROP ROLE IF EXISTS small", "CREATE ROLE small LOGIN PASSWORD 'small'")
        url = make_url(postgresql_url).set(username="small", password="small")
        small = url.render_as_string(hide_password=False)
        with pytest.raises(ConfigurationError, match="CREATE SCHEMA mill AUTHORIZATION small"):
            schema.upgrade(small, "mill")
        run(postgresql_url, "CREATE SCHEMA mill AUTHORIZATION small")
        assert schema.upgrade(small, "mill") == (None, schema.head())

    @pytest.mark.parametrize("name", ['a"b', "pg_mill", "Mill", "1st", "a.b", "a" * 64])
    def test_names_that_cannot_be_used(self, name: str) -> None:
        with pytest.raises(ConfigurationError, match="small letters"):
            create_database_engine("postgresql://localhost/labelmill", name)

    def test_sqlite_has_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        url = f"sqlite:///{tmp_path / 'labelmill.db'}"
        monkeypatch.setenv("LABELMILL_DATABASE_SCHEMA", "mill")
        with pytest.raises(ConfigurationError, match="is for PostgreSQL") as raised:
            Database.open(url)
        assert "\n" not in str(raised.value)
        Database.open(url, schema="").close()


class LikeDjango:
    """What ``django.db.connection`` is to us."""

    vendor = "postgresql"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def cursor(self) -> Any:
        return self._connection.cursor()

    def on_commit(self, func: Callable[[], object], /) -> None:
        """Left to whoever publishes."""
