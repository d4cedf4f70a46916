"""Connections to the database: lost replies, sessions that went bad, settings of others."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from labelmill.client import Client
from labelmill.core.errors import ConfigurationError, DatabaseUnavailable
from labelmill.core.run import Run
from labelmill.db import schema
from labelmill.db.connection import patiently
from labelmill.db.database import Database
from labelmill.db.filters import ResultFilter
from labelmill.db.jobs import Lane
from labelmill.local.postgres import PostgresServer
from tests.support.counting import wait_until_nothing_is_left
from tests.support.gateway import serving, settings_for
from tests.support.proxy import Proxy
from tests.support.rows import NOON, a_job, a_result
from tests.support.waiting import wait_for
from tests.support.worker import Workers

SILENCE = 0.8
EVERYTHING = ResultFilter()


@pytest.fixture
def proxy(postgres_server: PostgresServer) -> Iterator[Proxy]:
    with Proxy(postgres_server.port) as proxy:
        yield proxy


@pytest.fixture
def remote(proxy: Proxy, postgresql_url: str) -> Iterator[Database]:
    """The database behind the proxy, with one connection open."""
    with Database.open(impatient(proxy.url_of(postgresql_url))) as database:
        database.results.get("nothing")
        yield database


@pytest.fixture
def admin(postgres_server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        yield connection


def impatient(url: str) -> str:
    return f"{url}?silence_timeout={SILENCE}"


@contextmanager
def soon() -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < 25 * SILENCE


def backend_of(database: Database) -> int:
    with database.engine.connect() as connection:
        backend: int = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    return backend


# Lost replies


@pytest.mark.parametrize("lose", [Proxy.eat, Proxy.lose])
def test_a_lost_reply_of_a_write(lose: Callable[..., None], proxy: Proxy, remote: Database) -> None:
    lose(proxy, b"INSERT INTO results")
    with soon():
        assert remote.results.write([a_result("a"), a_result("b")]) == 2
    assert proxy.losses == 1
    assert remote.results.write([a_result("a"), a_result("c")]) == 1
    assert set(remote.results.get_many(["a", "b", "c"])) == {"a", "b", "c"}


def test_a_lost_reply_of_a_submission(proxy: Proxy, remote: Database) -> None:
    assert remote.jobs.add([a_job("before", payload={"text": "first"})]) == set()
    moment = NOON.replace(microsecond=7)
    proxy.eat(b"INSERT INTO jobs")
    with soon():
        # What this very call has written is no duplicate.
        again = [a_job("before", enqueued_at=moment), a_job("new", enqueued_at=moment)]
        assert remote.jobs.add(again) == {"before"}
    assert proxy.losses == 1
    job = remote.jobs.get("before")
    assert job is not None
    assert job.payload == {"text": "first"}


CALLS: dict[str, tuple[bytes, Callable[[Database], Any]]] = {
    "result": (b"FROM results", lambda db: db.results.get("a")),
    "summary": (b"FROM results", lambda db: db.results.summary(EVERYTHING)),
    "counts": (b"FROM results", lambda db: db.results.counts()),
    "job": (b"FROM jobs", lambda db: db.jobs.get("a")),
    "sweep": (b"FROM (SELECT jobs", lambda db: db.jobs.page(Lane("topics", 0), None, NOON, 10)),
    "progress": (b"FROM runs", lambda db: db.runs.progress("a")),
    "finish": (b"UPDATE runs", lambda db: db.runs.finish("a", NOON)),
    "begin": (b"BEGIN", lambda db: db.runs.newest()),
    "revision": (b"version_num", lambda db: schema.current(db.engine)),
    "withdraw": (b"DELETE FROM jobs", lambda db: db.jobs.withdraw(["a"])),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_lost_reply_is_asked_for_again(call: str, proxy: Proxy, remote: Database) -> None:
    containing, ask = CALLS[call]
    expected = ask(remote)
    proxy.eat(containing)
    with soon():
        assert ask(remote) == expected
    assert proxy.losses == 1


@pytest.mark.parametrize(
    ("containing", "ask"),
    [
        (b"FETCH", lambda db: list(db.results.oldest_first(EVERYTHING))),
        (b"COMMIT", lambda db: db.runs.add_jobs(Run("a", "m", "s", NOON), [a_job("a")])),
    ],
    ids=["export", "bulk"],
)
def test_a_lost_reply_to_what_is_not_repeated(
    containing: bytes, ask: Callable[[Database], Any], proxy: Proxy, remote: Database
) -> None:
    proxy.eat(containing)
    with soon(), pytest.raises(DatabaseUnavailable, match=r"silent for 0\.8 s"):
        ask(remote)
    assert proxy.losses == 1
    ask(remote)


def test_a_lost_reply_of_a_claim(proxy: Proxy, remote: Database) -> None:
    later = NOON + timedelta(hours=2)
    remote.jobs.add([a_job("a"), a_job("b"), a_job("c", enqueued_at=later)])
    proxy.eat(b"UPDATE jobs")
    with soon():
        claimed = remote.jobs.claim_lost(["a", "b", "c"], later, later + timedelta(seconds=1))
    assert proxy.losses == 1
    assert {job.id for job in claimed} == {"a", "b"}
    assert remote.jobs.claim_lost(["a", "b", "c"], later, later + timedelta(seconds=2)) == []


def test_lost_replies_to_a_run(proxy: Proxy, remote: Database) -> None:
    run = Run("r", "topics", "test", NOON)
    remote.jobs.add([a_job(name, run_id="r") for name in "abc"])
    proxy.eat(b"INSERT INTO runs")
    with soon():
        assert remote.runs.add(run)
    assert not remote.runs.add(run._replace(created_at=NOON + timedelta(1)))
    remote.runs.count_submitted("r", 1)
    proxy.eat(b"UPDATE runs")
    with soon():
        remote.runs.count_submitted("r", 2)
    assert proxy.losses == 2
    progress = remote.runs.progress("r")
    assert progress is not None
    assert progress.submitted == 3


def test_lost_replies_to_a_worker_and_a_client(
    redis_url: str, postgresql_url: str, proxy: Proxy, tmp_path: Path
) -> None:
    workers = Workers(redis_url, impatient(proxy.url_of(postgresql_url)), tmp_path)
    workers.configure()
    try:
        worker = workers.start()
        with workers.client() as client, workers.broker() as broker:
            client.wait(client.submit_text("scripted", "before"))
            proxy.eat(b"INSERT INTO jobs")
            with soon():
                held = client.submit_text("scripted", f"hold {tmp_path / 'go'}")
            assert proxy.losses == 1
            wait_for((tmp_path / "go.started").exists)
            proxy.eat()
            (tmp_path / "go").touch()
            wait_for(lambda: proxy.losses == 2)
            with soon():
                row = client.wait(held)
            wait_until_nothing_is_left(broker)
        assert worker.process.poll() is None
    finally:
        workers.stop()
    assert (row.status, row.attempt) == ("succeeded", 1)


def test_lost_replies_to_a_gateway(
    redis_url: str, postgresql_url: str, proxy: Proxy, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, redis_url, impatient(proxy.url_of(postgresql_url)))
    with serving(settings) as gateway:
        job = {"model": "texts", "text": "Hello", "id": "a"}
        for containing in (b"INSERT INTO jobs", b"FROM results", b"FROM runs"):
            losses = proxy.losses
            proxy.eat(containing)
            with soon():
                answers = [
                    gateway.post("/v1/jobs", json=job | {"id": f"a{losses}"}),
                    gateway.get("/v1/results"),
                    gateway.get("/v1/runs"),
                ]
            assert [answer.status_code for answer in answers] == [202, 200, 200]
            assert proxy.losses == losses + 1


def test_a_server_that_is_at_work_is_waited_for(remote: Database) -> None:
    with remote.engine.connect() as connection, patiently(connection):
        connection.execute(text(f"SELECT pg_sleep({4 * SILENCE})"))
    with soon(), pytest.raises(Exception, match=r"silent|timeout"), remote.engine.connect() as one:
        one.execute(text("SELECT pg_sleep(60)"))


def test_a_server_that_cannot_be_asked_is_not_waited_for(proxy: Proxy, remote: Database) -> None:
    with remote.engine.connect() as connection, patiently(connection):
        proxy.stall()
        with soon(), pytest.raises(Exception, match="silent"):
            connection.execute(text("SELECT 1"))
    proxy.resume()
    remote.results.get("a")


def test_readers_of_an_export_take_their_time(remote: Database) -> None:
    remote.results.write([a_result(f"r{i:04}") for i in range(2100)])
    rows = remote.results.oldest_first(EVERYTHING)
    next(rows)
    time.sleep(1.5 * SILENCE)
    assert sum(1 for _ in rows) == 2099


def test_lost_replies_to_a_migration(
    postgres_server: PostgresServer, admin: psycopg.Connection[Any], proxy: Proxy
) -> None:
    admin.execute("CREATE DATABASE bare")
    url = str(make_url(postgres_server.url).set(database="bare").render_as_string(False))
    through = impatient(proxy.url_of(url))
    # As long as another upgrade takes, and a statement of its own.
    with psycopg.connect(url) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [schema._UPGRADE_LOCK])
        waiting = Thread(target=schema.upgrade, args=[through], daemon=True)
        waiting.start()
        time.sleep(4 * SILENCE)
        assert waiting.is_alive()
    waiting.join(60)
    admin.execute("DROP DATABASE bare WITH (FORCE)")
    admin.execute("CREATE DATABASE bare")
    for part in (b"CREATE TABLE", b"COMMIT"):
        proxy.eat(part)
        with soon(), pytest.raises(DatabaseUnavailable, match="silent"):
            schema.upgrade(through)
    assert schema.upgrade(through).after == schema.head()
    assert proxy.losses == 2
    admin.execute("DROP DATABASE bare WITH (FORCE)")


# What a connection answers


SPOILT = (
    *("08006", "0A000", "25006", "25P03", "26000", "3F000", "42501", "42P01", "42P05", "53100"),
    *("53200", "53300", "55P03", "57014", "57P01", "57P03", "58030", "XX000"),
)
AS_GOOD_AS_BEFORE = ("22001", "23505", "23514", "40001", "40P01", "54000", "P0001")


@pytest.mark.parametrize(
    ("states", "kept"), [(SPOILT, False), (AS_GOOD_AS_BEFORE, True)], ids=["spoilt", "good"]
)
def test_what_a_connection_answers_decides_whether_it_is_used_again(
    states: Sequence[str], kept: bool, postgresql_url: str
) -> None:
    with Database.open(postgresql_url) as database:
        for state in states:
            before = backend_of(database)
            with pytest.raises(DBAPIError, match="told"), database.engine.connect() as connection:
                connection.execute(text(raising(state)))
            assert (backend_of(database) == before) is kept, state


def raising(state: str) -> str:
    return f"DO $$ BEGIN RAISE EXCEPTION 'told' USING ERRCODE = '{state}'; END $$"


def set_on_database(admin: psycopg.Connection[Any], url: str, setting: str) -> None:
    name = make_url(url).database
    admin.execute(f"ALTER DATABASE {name} {setting}".encode())


def test_a_database_that_was_read_only(
    postgresql_url: str, redis_url: str, admin: psycopg.Connection[Any]
) -> None:
    set_on_database(admin, postgresql_url, "SET default_transaction_read_only = on")
    with Client(redis_url, postgresql_url) as client:
        with pytest.raises(DatabaseUnavailable, match="read-only"):
            client.submit_text("topics", "no")
        # Several at rest, each of a session that is read-only for good.
        connections = [client._database.engine.connect() for _ in range(3)]
        for connection in connections:
            connection.close()
        set_on_database(admin, postgresql_url, "RESET default_transaction_read_only")
        for _ in range(3):
            client.submit_text("topics", "yes")


def test_a_worker_on_a_database_that_was_read_only(
    redis_url: str, postgresql_url: str, admin: psycopg.Connection[Any], tmp_path: Path
) -> None:
    workers = Workers(redis_url, postgresql_url, tmp_path)
    workers.configure()
    try:
        with workers.client() as client:
            ids = [client.submit_text("scripted", f"t{i}") for i in range(3)]
            set_on_database(admin, postgresql_url, "SET default_transaction_read_only = on")
            worker = workers.start()
            wait_for(lambda: "cannot commit" in worker.text())
            set_on_database(admin, postgresql_url, "RESET default_transaction_read_only")
            rows = [client.wait(each, timeout=30) for each in ids]
        assert worker.process.poll() is None
    finally:
        workers.stop()
    assert {(row.status, row.attempt) for row in rows} == {("succeeded", 1)}


def test_a_server_that_is_no_longer_the_one_to_write_to(
    postgresql_url: str, admin: psycopg.Connection[Any]
) -> None:
    url = make_url(postgresql_url)
    with (
        PostgresServer() as old,
        Proxy(old.port) as proxy,
        psycopg.connect(old.url, autocommit=True) as server,
    ):
        server.execute(f"CREATE DATABASE {url.database}".encode())
        schema.upgrade(make_url(old.url).set(database=url.database).render_as_string(False))
        account = "CREATE ROLE failover SUPERUSER LOGIN PASSWORD 'same'"
        server.execute(account.encode())
        admin.execute(account.encode())
        through = url.set(username="failover", password="same", port=proxy.port)
        with Database.open(through.render_as_string(False)) as database:
            assert database.results.write([a_result("before")]) == 1
            server.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            server.execute("SELECT pg_reload_conf()")
            wait_for(lambda: is_read_only(database))
            proxy.switch(url.port or 0)
            assert database.results.write([a_result("after")]) == 1
            assert database.results.get("before") is None
    with Database.open(postgresql_url) as database:
        assert database.results.get("after") is not None
    admin.execute("DROP ROLE failover")


def is_read_only(database: Database) -> bool:
    with database.engine.connect() as connection:
        shown = connection.execute(text("SHOW default_transaction_read_only")).scalar_one()
    return bool(shown == "on")


def test_a_write_that_an_administrator_ends(
    postgresql_url: str, admin: psycopg.Connection[Any]
) -> None:
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
    name = [make_url(postgresql_url).database]
    with Database.open(postgresql_url) as database:
        for end in ("pg_terminate_backend", "pg_cancel_backend"):
            with database.engine.connect() as held:
                held.execute(text("LOCK TABLE results"))
                writing = Thread(target=database.results.write, args=[[a_result(end)]])
                writing.start()
                [(backend,)] = wait_for(lambda: admin.execute(waiting, name).fetchall())
                admin.execute(f"SELECT {end}(%s)".encode(), [backend])
            writing.join()
        assert set(database.results.get_many(["pg_terminate_backend", "pg_cancel_backend"])) == {
            "pg_terminate_backend",
            "pg_cancel_backend",
        }


# Sessions that are not ours

FOREIGN = {
    "DateStyle": "'German, DMY'",
    "IntervalStyle": "sql_standard",
    "TimeZone": "'Asia/Kathmandu'",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "extra_float_digits": "0",
    "statement_timeout": "'5ms'",
    "lock_timeout": "'5ms'",
    "default_transaction_isolation": "serializable",
    "bytea_output": "escape",
}


def write_and_read(database: Database) -> None:
    row = a_result("ü\\u2603", score=0.1 + 0.2, label="ü \\ ' ☃")
    assert database.results.write([row]) == 1
    assert database.results.write([row]) == 0
    assert database.results.get(row.id) == row
    assert [each.result for each in database.results.oldest_first(EVERYTHING)] == [row]
    assert database.results.page(EVERYTHING, 1).results == [row]
    database.jobs.add([a_job("a", payload={"text": "☃ \\"})])
    job = database.jobs.get("a")
    assert job is not None
    assert (job.payload, job.enqueued_at) == ({"text": "☃ \\"}, NOON)


def test_a_database_with_settings_of_its_own(
    postgresql_url: str, admin: psycopg.Connection[Any]
) -> None:
    for name, value in FOREIGN.items():
        set_on_database(admin, postgresql_url, f"SET {name} = {value}")
    with Database.open(postgresql_url) as database:
        write_and_read(database)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PGDATESTYLE", "German"),
        ("PGTZ", "Asia/Kathmandu"),
        ("PGCLIENTENCODING", "LATIN1"),
        ("PGOPTIONS", "-c datestyle=German -c default_transaction_read_only=on"),
        ("PGTARGETSESSIONATTRS", "read-only"),
        ("PGHOSTADDR", "127.0.0.9"),
        ("PGHOST", "nowhere.invalid"),
        ("PGDATABASE", "somebodys"),
        ("PGUSER", "somebody"),
        ("PGCONNECT_TIMEOUT", "1"),
        ("PGAPPNAME", "somebodys"),
    ],
)
def test_an_environment_for_somebody_else(
    name: str, value: str, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with Database.open(postgresql_url) as database:
        write_and_read(database)


def test_a_service_of_somebody_else(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "services").write_text(
        "[shop]\nhost=nowhere.invalid\nhostaddr=127.0.0.9\nport=1\noptions=-c datestyle=German\n"
        "target_session_attrs=read-only\nconnect_timeout=1\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv("PGSERVICE", "shop")
    with Database.open(postgresql_url) as database:
        write_and_read(database)


def test_what_the_url_says_goes_before(postgresql_url: str) -> None:
    url = f"{postgresql_url}?options=-c%20statement_timeout%3D7s&application_name=mine"
    with Database.open(url) as database, database.engine.connect() as connection:
        shown = [
            connection.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("statement_timeout", "application_name", "lock_timeout", "DateStyle")
        ]
    assert shown == ["7s", "mine", "15s", "ISO, MDY"]


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_every_text(
    encoding: str, postgres_server: PostgresServer, admin: psycopg.Connection[Any]
) -> None:
    admin.execute(f"CREATE DATABASE narrow ENCODING '{encoding}' TEMPLATE template0".encode())
    try:
        url = make_url(postgres_server.url).set(database="narrow").render_as_string(False)
        with pytest.raises(ConfigurationError, match=f"encoding {encoding}.*UTF8") as caught:
            schema.upgrade(url)
        assert "\n" not in str(caught.value)
    finally:
        admin.execute("DROP DATABASE narrow WITH (FORCE)")


def test_several_hosts_of_which_one_is_the_primary(
    postgres_server: PostgresServer, postgresql_url: str, admin: psycopg.Connection[Any]
) -> None:
    with PostgresServer() as standby, psycopg.connect(standby.url, autocommit=True) as server:
        account = "CREATE ROLE failover SUPERUSER LOGIN PASSWORD 'same'"
        for each in (server, admin):
            each.execute(account.encode())
        url = make_url(postgresql_url)
        server.execute(f"CREATE DATABASE {url.database}".encode())
        directory = standby._directory
        assert directory is not None
        # A server in recovery: it waits for a primary that never comes.
        (directory / "data" / "standby.signal").touch()
        standby.kill()
        standby.start()
        try:
            hosts = f"127.0.0.1:{standby.port},127.0.0.1:{postgres_server.port}"
            through = f"postgresql://failover:same@{hosts}/{url.database}"
            for query in ("", "?target_session_attrs=read-write"):
                with Database.open(through + query) as database:
                    database.results.write([a_result("a")])
        finally:
            admin.execute("DROP ROLE failover")
    with Database.open(postgresql_url) as database:
        assert database.results.get("a") is not None


# SQLite


def test_an_sqlite_file_that_others_have_made(tmp_path: Path) -> None:
    path = tmp_path / "others.db"
    with closing(sqlite3.connect(path)) as others:
        for pragma in ("encoding='UTF-16le'", "page_size=512", "auto_vacuum=FULL"):
            others.execute(f"PRAGMA {pragma}")
        others.execute("CREATE TABLE theirs (id TEXT)")
        others.execute("PRAGMA journal_mode=DELETE")
    schema.upgrade(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as others:
        others.execute("PRAGMA journal_mode=DELETE")
    with Database.open(f"sqlite:///{path}") as database:
        write_and_read(database)
        with database.engine.connect() as connection:
            shown = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    assert shown == "wal"


def test_an_sqlite_file_that_is_replaced_by_its_backup(sqlite_url: str, tmp_path: Path) -> None:
    path = Path(make_url(sqlite_url).database or "")
    with Database.open(sqlite_url) as database:
        database.results.write([a_result("before")])
        database.engine.dispose()
        backup = Path(shutil.copy(path, tmp_path / "backup.db"))
        database.results.write([a_result("lost with the file")])
        for name in (f"{path}-wal", f"{path}-shm"):
            Path(name).unlink(missing_ok=True)
        backup.rename(path)
        assert database.results.write([a_result("after")]) == 1
    with Database.open(sqlite_url) as database:
        found = database.results.get_many(["before", "lost with the file", "after"])
    assert set(found) == {"before", "after"}


def test_an_sqlite_file_that_can_only_be_read(sqlite_url: str, tmp_path: Path) -> None:
    path = Path(make_url(sqlite_url).database or "")
    with Database.open(sqlite_url) as database:
        database.results.write([a_result("a")])
    with closing(sqlite3.connect(path)) as others:
        others.execute("PRAGMA journal_mode=DELETE")
    with Database.open(f"sqlite:///file:{path}?mode=ro&uri=true") as database:
        assert database.results.get("a") is not None
        with pytest.raises(DatabaseUnavailable, match="readonly"):
            database.results.write([a_result("b")])


def test_an_sqlite_file_that_is_broken_and_mended(sqlite_url: str) -> None:
    path = Path(make_url(sqlite_url).database or "")
    with Database.open(sqlite_url) as database:
        database.results.write([a_result("a")])
        database.engine.dispose()
        whole = path.read_bytes()
        path.write_bytes(b"broken" * 1000)
        with pytest.raises(DatabaseUnavailable, match="not a database"):
            database.results.write([a_result("b")])
        path.write_bytes(whole)
        assert database.results.write([a_result("b")]) == 1
        assert set(database.results.get_many(["a", "b"])) == {"a", "b"}
