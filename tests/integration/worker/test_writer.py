"""The writer on real databases that refuse."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event, text
from tenacity import RetryError

from labelmill.core.result import Result
from labelmill.core.states import Status
from labelmill.db import connection
from labelmill.db.database import Database
from labelmill.worker.writer import RowWriter
from tests.support.rows import a_result, newest_results
from tests.support.waiting import wait_for

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

#: Raises an error of a kind the first times that a statement inserts.
_REFUSING = """
CREATE SEQUENCE refusals;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('refusals') <= {times} THEN
        RAISE EXCEPTION 'refused' USING ERRCODE = '{code}';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON results FOR EACH STATEMENT EXECUTE FUNCTION refuse();
"""


def row(name: str, label: str = "fine", score: float = 1.0) -> Result:
    return a_result(name, label=label, score=score, worker="w")


@pytest.fixture
def giving_up() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def in_background() -> Iterator[Callable[..., Future[tuple[list[Result], int]]]]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite waits for a lock for a moment only."""
    monkeypatch.setattr(connection, "_LOCK_TIMEOUT_S", 0.05)


@pytest.mark.parametrize(
    "code",
    [
        "40P01",  # deadlock
        "40001",  # serialization failure
        "55P03",  # lock not available
        "53100",  # disk full
        "57014",  # cancelled by statement_timeout
        "25006",  # a standby
        "42501",  # no privilege
    ],
)
def test_what_passes_is_waited_for(
    postgresql_url: str, code: str, giving_up: threading.Event
) -> None:
    with Database.open(postgresql_url) as database:
        with database.engine.begin() as connection:
            connection.execute(text(_REFUSING.format(times=2, code=code)))
        rows, new = RowWriter(database, giving_up).write([row("a"), row("b")])
        assert ([each.status for each in rows], new) == (["succeeded"] * 2, 2)


def test_the_victim_of_a_deadlock_tries_again(
    postgresql_url: str,
    giving_up: threading.Event,
    in_background: Callable[..., Future[tuple[list[Result], int]]],
) -> None:
    insert = (
        "INSERT INTO results (id, model, status, attempt, group_size, worker, started_at,"
        " finished_at) VALUES (%s, 'm', 'failed', 1, 1, 'other', now(), now())"
    )
    address = postgresql_url.replace("postgresql+psycopg", "postgresql")
    with Database.open(postgresql_url) as database, psycopg.connect(address) as other:
        other.execute("SET deadlock_timeout = '10min'")  # so that it is never the victim
        other.execute(insert, ["b"])
        writing = in_background(RowWriter(database, giving_up).write, [row("a"), row("b")])
        with psycopg.connect(address, autocommit=True) as observer:
            wait_for(
                lambda: observer.execute(
                    "SELECT 1 FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
                ).fetchone()
            )
        other.execute(insert, ["a"])
        other.commit()
        assert writing.result(30)[1] == 0
        assert {each.worker for each in newest_results(database)} == {"other"}


def test_a_locked_file_is_waited_for(
    sqlite_url: str,
    giving_up: threading.Event,
    patience: None,
    in_background: Callable[..., Future[tuple[list[Result], int]]],
) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    with Database.open(sqlite_url) as database, closing(sqlite3.connect(path)) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        writer = RowWriter(database, giving_up)
        writing = in_background(writer.write, [row("a")])
        wait_for(lambda: writer.waiting)
        other.execute("COMMIT")
        assert writing.result(30)[1] == 1
        assert not writer.waiting


def test_a_full_disk_is_waited_for(
    sqlite_url: str,
    giving_up: threading.Event,
    in_background: Callable[..., Future[tuple[list[Result], int]]],
) -> None:
    pages = 1  # below what the file has: full

    with Database.open(sqlite_url) as database:

        @event.listens_for(database.engine, "checkout")
        def limit(connection: sqlite3.Connection, *_: object) -> None:
            connection.execute(f"PRAGMA max_page_count = {pages}")

        writer = RowWriter(database, giving_up)
        writing = in_background(writer.write, [row(f"{n}", "x" * 1000) for n in range(100)])
        wait_for(lambda: writer.waiting)
        assert newest_results(database) == []
        pages = 1_000_000
        assert writing.result(30)[1] == 100


def test_a_write_that_hangs_counts_as_waiting(
    postgresql_url: str,
    giving_up: threading.Event,
    in_background: Callable[..., Future[tuple[list[Result], int]]],
) -> None:
    address = postgresql_url.replace("postgresql+psycopg", "postgresql")
    with Database.open(postgresql_url) as database:
        writer = RowWriter(database, giving_up)
        with psycopg.connect(address) as other:
            other.execute("LOCK TABLE results IN ACCESS EXCLUSIVE MODE")
            writing = in_background(writer.write, [row("a")])
            wait_for(lambda: writer.waiting)
        assert writing.result(30)[1] == 1
        assert not writer.waiting


def test_giving_up_ends_the_wait(
    giving_up: threading.Event,
    in_background: Callable[..., Future[tuple[list[Result], int]]],
) -> None:
    with Database.open("postgresql://nobody@127.0.0.1:1/nothing") as database:
        writer = RowWriter(database, giving_up)
        writing = in_background(writer.write, [row("a")])
        wait_for(lambda: writer.waiting)
        giving_up.set()
        assert isinstance(writing.exception(30), RetryError)


def refuse_labels(database: Database) -> None:
    """Have the database itself refuse a row for its label."""
    statement = "ALTER TABLE results ADD CHECK (label <> 'refused')"
    if database.engine.dialect.name == "sqlite":
        statement = (
            "CREATE TRIGGER refuse BEFORE INSERT ON results WHEN NEW.label = 'refused'"
            " BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    with database.engine.begin() as connection:
        connection.execute(text(statement))


@pytest.mark.parametrize("bad", [row("07", "refused"), row("07", score=math.nan)])
def test_a_row_that_is_refused_fails_alone(
    database: Database, giving_up: threading.Event, bad: Result
) -> None:
    refuse_labels(database)
    rows = [row(f"{n:02}") for n in range(20)]
    rows[7] = bad
    written, new = RowWriter(database, giving_up).write(rows)
    assert new == 20
    assert [each.status for each in written].count(Status.FAILED) == 1
    found = database.results.get_many([each.id for each in rows])
    assert len(found) == 20
    failed = [each for each in found.values() if each.status == "failed"]
    assert [(each.id, each.error_code, each.label) for each in failed] == [
        ("07", "unstorable", None)
    ]


def test_a_table_that_is_missing_is_waited_for(
    database: Database,
    giving_up: threading.Event,
    in_background: Callable[..., Future[tuple[list[Result], int]]],
) -> None:
    """As in the middle of an operator's work; the row is not lost, and not blamed."""
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE results RENAME TO elsewhere"))
    writer = RowWriter(database, giving_up)
    writing = in_background(writer.write, [row("a")])
    wait_for(lambda: writer.waiting)
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO results"))
    assert writing.result(30)[1] == 1


def test_what_nobody_can_mend_is_raised(
    database: Database, giving_up: threading.Event, tmp_path: Path
) -> None:
    """Where not even the row that says so can be stored, the stage ends, and the jobs stay."""
    unnameable = replace(row("a"), worker="w" * 1000)
    with pytest.raises(ValueError, match="longer than"):
        RowWriter(database, giving_up).write([unnameable])
