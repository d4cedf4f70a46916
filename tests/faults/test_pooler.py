"""A pooler in transaction mode: each transaction may be on another connection to the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from labelmill.client import NewJob
from labelmill.core.run import Run
from labelmill.db import postgresql, schema
from labelmill.db.connection import patiently
from labelmill.db.database import Database
from labelmill.db.filters import ResultFilter
from labelmill.local.postgres import PostgresServer
from tests.support.counting import rows_of, wait_until_nothing_is_left
from tests.support.pgbouncer import PgBouncer
from tests.support.proxy import Proxy
from tests.support.rows import NOON, a_job, a_result
from tests.support.worker import Workers

OTHERS = ("statement_timeout", "lock_timeout", "IntervalStyle", "search_path")


@pytest.fixture(scope="module")
def pooler(postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    with PgBouncer(postgres_server.url) as pooler:
        yield pooler


@pytest.fixture
def pooled_url(pooler: PgBouncer, postgresql_url: str) -> str:
    """An empty, migrated database whose sessions are German, through the pooler."""
    with psycopg.connect(postgresql_url, autocommit=True) as admin:
        name = make_url(postgresql_url).database
        admin.execute(f"ALTER DATABASE {name} SET DateStyle = 'German, DMY'".encode())
        admin.execute(f"ALTER DATABASE {name} SET TimeZone = 'Asia/Kathmandu'".encode())
    return pooler.url_of(postgresql_url)


@pytest.fixture
def clients(pooled_url: str) -> Iterator[list[Database]]:
    """More than the pooler has connections to the server."""
    databases = [Database.open(pooled_url) for _ in range(4)]
    yield databases
    for each in databases:
        each.close()


def test_a_schema_of_labelmill_s_own(pooler: PgBouncer, postgresql_url: str) -> None:
    """It is in each statement, not in the session, which is another's in the next transaction."""
    url = pooler.url_of(postgresql_url)
    for name in ("one", "two"):
        assert schema.upgrade(url, name) == (None, schema.head())
    with Database.open(url, "one") as one, Database.open(url, "two") as two:
        for _ in range(6):  # often enough for statements to be prepared
            one.results.write([a_result("a")])
            assert two.results.get("a") is None
        assert one.jobs.add([a_job("a")]) == set()
        assert (one.jobs.get("a") is None, two.jobs.get("a") is None) == (False, True)
    with psycopg.connect(url) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ('"$user", public',)


def use(database: Database, name: str) -> None:
    """Whatever is done with a database, each often enough for its statement to be prepared."""
    row = a_result(name, run_id="r")
    ids = [f"{name}{number}" for number in range(8)]
    assert [database.results.write([row]) for _ in ids] == [1, *[0] * 7]
    assert [database.results.get(name) for _ in ids] == [row] * 8
    for each in ids:
        assert database.jobs.add([a_job(each)]) == set()
    for each in ids:
        assert len(database.jobs.claim_lost([each], NOON.replace(year=2027), NOON)) == 1
    for each in ids:
        added = database.runs.add_jobs(Run(name, "topics", "test", NOON), [a_job(f"r{each}")])
        assert added == {f"r{each}"}


def test_transactions_on_any_of_few_connections(clients: list[Database]) -> None:
    # One after the other, each transaction takes the connection that was given back last.
    held = clients[0].engine.connect()
    held.execute(text("SELECT 1"))
    use(clients[1], "one")
    use(clients[2], "two")
    held.close()
    with clients[1].engine.connect() as held:
        held.execute(text("SELECT 1"))
        use(clients[3], "three")
        use(clients[0], "four")
    for each in clients:
        everything = ResultFilter()
        assert each.results.summary(everything).succeeded == 4
        assert len(list(each.results.oldest_first(everything))) == 4
        progress = each.runs.progress("one")
        assert progress is not None
        assert progress.submitted == 8


def test_a_worker_and_its_client(redis_url: str, pooled_url: str, tmp_path: Path) -> None:
    workers = Workers(redis_url, pooled_url, tmp_path)
    workers.configure()
    try:
        running = [workers.start(wait=False) for _ in range(2)]
        for worker in running:
            workers.wait_ready(worker)
        with workers.client() as client, workers.client() as other, workers.broker() as broker:
            ids = [
                *client.submit_many("scripted", [NewJob(text=f"t{i}") for i in range(300)]).ids,
                *(each.submit_text("scripted", "one") for each in (client, other) * 8),
            ]
            rows = rows_of(client, ids)
            wait_until_nothing_is_left(broker)
        assert [worker.process.poll() for worker in running] == [None, None]
        assert not any("Traceback" in worker.text() for worker in running)
    finally:
        workers.stop()
    assert {(row.status, row.attempt) for row in rows} == {("succeeded", 1)}


def test_an_upgrade(pooler: PgBouncer, postgres_server: PostgresServer) -> None:
    with psycopg.connect(postgres_server.url, autocommit=True) as admin:
        admin.execute("CREATE DATABASE pooled")
        url = make_url(postgres_server.url).set(database="pooled").render_as_string(False)
        try:
            assert schema.upgrade(pooler.url_of(url)).after == schema.head()
            assert schema.upgrade(pooler.url_of(url)).before == schema.head()
        finally:
            admin.execute("DROP DATABASE pooled WITH (FORCE)")


def test_an_environment_for_somebody_else(pooled_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c search_path=theirs")  # a pooler refuses to start with it
    monkeypatch.setenv("PGDATESTYLE", "SQL, DMY")
    monkeypatch.setenv("PGTZ", "Asia/Kathmandu")
    with Database.open(pooled_url) as database:
        use(database, "a")


def test_nothing_is_left_behind_for_others(clients: list[Database], pooled_url: str) -> None:
    for each in clients:
        use(each, f"{id(each)}")
        list(each.results.oldest_first(ResultFilter()))
    with psycopg.connect(pooled_url, autocommit=True) as others:
        shown: dict[str, Any] = {
            name: others.execute(f"SHOW {name}".encode()).fetchone() for name in OTHERS
        }
        prepared = others.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
    assert shown == {
        "statement_timeout": ("0",),
        "lock_timeout": ("0",),
        "IntervalStyle": ("postgres",),
        "search_path": ('"$user", public',),
    }
    assert prepared == (0,)


def test_a_pooler_that_is_taken_for_a_server(
    clients: list[Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(connection: psycopg.Connection[Any]) -> bool:
        connection.execute("SET DateStyle = 'ISO, MDY'")
        return True

    monkeypatch.setattr(postgresql._Sessions, "_set_up", lambda _self, each: taken(each))
    one, other, left, right = clients
    ids = [f"id{number}" for number in range(8)]
    # Each client is alone on one of the two servers when it prepares its first statement. Then one
    # is on the other's.
    on_left, on_right = held_by(left), held_by(right)
    on_left.close()
    for each in ids:
        one.results.write([a_result(each)])
    on_left = held_by(left)
    on_right.close()
    for each in ids:
        other.jobs.add([a_job(each)])
    on_right = held_by(right)
    on_left.close()
    assert other.jobs.add([a_job("new")]) == set()
    on_right.close()
    assert one.results.write([a_result("new")]) == 1
    assert len(one.results.get_many([*ids, "new"])) == 9
    assert len(one.jobs.get_many([*ids, "new"])) == 9


def held_by(database: Database) -> Connection:
    """A connection in a transaction, and so one to the server that nobody else uses."""
    connection = database.engine.connect()
    connection.execute(text("SELECT 1"))
    return connection


def test_a_lost_reply_and_a_long_read(pooler: PgBouncer, pooled_url: str) -> None:
    with Proxy(make_url(pooled_url).port or 0) as proxy:
        url = f"{proxy.url_of(pooled_url)}?silence_timeout=0.5"
        with Database.open(url) as database:
            proxy.eat(b"INSERT INTO results")
            assert database.results.write([a_result("a")]) == 1
            assert proxy.losses == 1
            with database.engine.connect() as connection, patiently(connection):
                connection.execute(text("SELECT pg_sleep(2)"))
