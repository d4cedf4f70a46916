"""The writer on real databases that refuse."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime

import psycopg
import pytest
from sqlalchemy import event, text
from tenacity import RetryError

from labelmill.core.result import Result
from labelmill.core.states import Status
from labelmill.db import connection
from labelmill.db.database import Database
from labelmill.worker.steps import AllRefused, Written
from labelmill.worker.writer import RowWriter
from tests.support.rows import a_result, newest_results
from tests.support.triggers import OF_POSTGRESQL, OF_SQLITE, refuse_by
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
def in_background() -> Iterator[Callable[..., Future[Written]]]:
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
        written = RowWriter(database, giving_up).write([row("a"), row("b")])
        assert [each.status for each in written.rows] == ["succeeded"] * 2
        assert (written.new, written.refused) == (2, {})


def test_the_victim_of_a_deadlock_tries_again(
    postgresql_url: str,
    giving_up: threading.Event,
    in_background: Callable[..., Future[Written]],
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
        assert writing.result(30).new == 0
        assert {each.worker for each in newest_results(database)} == {"other"}


def test_a_locked_file_is_waited_for(
    sqlite_url: str,
    giving_up: threading.Event,
    patience: None,
    in_background: Callable[..., Future[Written]],
) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    with Database.open(sqlite_url) as database, closing(sqlite3.connect(path)) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        writer = RowWriter(database, giving_up)
        writing = in_background(writer.write, [row("a")])
        wait_for(lambda: writer.waiting)
        other.execute("COMMIT")
        assert writing.result(30).new == 1
        assert not writer.waiting


def test_a_full_disk_is_waited_for(
    sqlite_url: str,
    giving_up: threading.Event,
    in_background: Callable[..., Future[Written]],
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
        assert writing.result(30).new == 100


def test_a_write_that_hangs_counts_as_waiting(
    postgresql_url: str,
    giving_up: threading.Event,
    in_background: Callable[..., Future[Written]],
) -> None:
    address = postgresql_url.replace("postgresql+psycopg", "postgresql")
    with Database.open(postgresql_url) as database:
        writer = RowWriter(database, giving_up)
        with psycopg.connect(address) as other:
            other.execute("LOCK TABLE results IN ACCESS EXCLUSIVE MODE")
            writing = in_background(writer.write, [row("a")])
            wait_for(lambda: writer.waiting)
        assert writing.result(30).new == 1
        assert not writer.waiting


def test_giving_up_ends_the_wait(
    giving_up: threading.Event,
    in_background: Callable[..., Future[Written]],
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
    written = RowWriter(database, giving_up).write(rows)
    assert (written.new, list(written.refused), written.rowless) == (20, ["07"], {})
    assert [each.status for each in written.rows].count(Status.FAILED) == 1
    found = database.results.get_many([each.id for each in rows])
    assert len(found) == 20
    failed = [each for each in found.values() if each.status == "failed"]
    assert [(each.id, each.error_code, each.label) for each in failed] == [
        ("07", "unstorable", None)
    ]
    assert failed[0].error_message == (
        f"the database refused this job's row: {written.refused['07']}"
    )


def both(*ways: tuple[dict[str, str], str]) -> list[object]:
    """The ways of each kind of database, for ``database_url`` and ``what``."""
    return [pytest.param(kind, what, id=f"{kind}-{what}") for kinds, kind in ways for what in kinds]


WAYS = pytest.mark.parametrize(
    ("database_url", "what"),
    both((OF_POSTGRESQL, "postgresql"), (OF_SQLITE, "sqlite")),
    indirect=["database_url"],
)


@WAYS
def test_a_row_that_no_row_can_stand_for_is_told_and_the_others_are_written(
    database: Database, giving_up: threading.Event, what: str
) -> None:
    database.results.write([row("065")])  # more than one statement of SQLite's, and known rows
    refuse_by(database, what, "NEW.id = '100'")
    rows = [row(f"{n:03}") for n in range(130)]
    written = RowWriter(database, giving_up).write(rows)
    assert (list(written.rowless), written.new) == (["100"], 128)
    assert len(written.rows) == len(database.results.get_many([each.id for each in rows])) == 129


@WAYS
def test_where_every_row_is_refused_nobody_is_blamed(
    database: Database, giving_up: threading.Event, what: str
) -> None:
    refuse_by(database, what, "NEW.id <> ''")
    writer = RowWriter(database, giving_up)
    for rows in ([row("a")], [row("a"), row("b"), row("c")]):
        with pytest.raises(AllRefused):
            writer.write(rows)
    assert not writer.is_taken(row("a"))
    assert newest_results(database) == []


@WAYS
def test_a_lone_row_is_blamed_where_another_would_be_taken(
    database: Database, giving_up: threading.Event, what: str
) -> None:
    refuse_by(database, what, "NEW.id = 'a'")
    written = RowWriter(database, giving_up).write([row("a")])
    assert (list(written.rowless), written.rows) == (["a"], [])
    assert newest_results(database) == []  # the probe is not kept


@pytest.mark.parametrize(
    ("constraint", "says", "rowless"),
    [
        ("CHECK (label <> 'refused')", "23514", False),
        ("UNIQUE (label)", "23505", False),
        ("EXCLUDE USING btree (label WITH =)", "23P01", False),
        ("FOREIGN KEY (id) REFERENCES tickets (id)", "23503", True),
    ],
)
def test_constraints_of_a_dba_s(
    postgresql_url: str, giving_up: threading.Event, constraint: str, says: str, rowless: bool
) -> None:
    with Database.open(postgresql_url) as database:
        database.results.write([row("before", "refused")] if "CHECK" not in constraint else [])
        with database.engine.begin() as connection:
            connection.execute(text("CREATE TABLE tickets (id varchar(255) PRIMARY KEY)"))
            connection.execute(text("INSERT INTO tickets VALUES ('a'), ('c'), ('before')"))
            connection.execute(text(f"ALTER TABLE results ADD {constraint}"))
        rows = [row("a", "one"), row("b", "refused"), row("c", "two")]
        written = RowWriter(database, giving_up).write(rows)
        assert list(written.refused) == ["b"]
        assert f"(SQLSTATE {says})" in written.refused["b"]
        assert bool(written.rowless) is rowless
        assert "refused" not in written.refused["b"].partition("violates")[2]


def test_a_narrowed_column_and_a_policy_of_row_level_security(
    postgresql_url: str, giving_up: threading.Event
) -> None:
    with Database.open(postgresql_url) as database, database.engine.connect() as connection:
        for statement in (
            "ALTER TABLE results ALTER label TYPE varchar(10)",
            "ALTER TABLE results ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE results FORCE ROW LEVEL SECURITY",
            "CREATE ROLE worker",
            "GRANT ALL ON results TO worker",
            "CREATE POLICY p ON results USING (true) WITH CHECK (label <> 'foreign')",
        ):
            connection.execute(text(statement))
        connection.commit()
        event.listen(
            database.engine,
            "checkout",
            lambda driver, *_: (driver.execute("SET ROLE worker"), driver.commit()),
        )
        connection.connection.driver_connection.execute("SET ROLE worker")  # type: ignore[union-attr]
        connection.commit()
        rows = [row("a"), row("b", "foreign"), row("c", "longer than it may be")]
        written = RowWriter(database, giving_up).write(rows)
        assert {id: words[-7:] for id, words in written.refused.items()} == {
            "b": " 42501)",
            "c": " 22001)",
        }


@pytest.mark.parametrize(
    ("break_it", "mend_it"),
    [
        ("DROP CONSTRAINT pk_results", "ADD CONSTRAINT pk_results PRIMARY KEY (id)"),
        ("RENAME label TO labels", "RENAME labels TO label"),
        (
            "ALTER started_at TYPE bigint USING 1",
            "ALTER started_at TYPE timestamptz USING now()",
        ),
    ],
)
def test_a_table_that_is_not_ours_any_more_is_waited_for(
    postgresql_url: str,
    giving_up: threading.Event,
    in_background: Callable[..., Future[Written]],
    break_it: str,
    mend_it: str,
) -> None:
    with Database.open(postgresql_url) as database:

        def alter(how: str) -> None:
            with database.engine.begin() as connection:
                connection.execute(text(f"ALTER TABLE results {how}"))

        alter(break_it)
        writer = RowWriter(database, giving_up)
        writing = in_background(writer.write, [row("a")])
        wait_for(lambda: writer.waiting)
        alter(mend_it)
        written = writing.result(30)
        assert (written.new, written.refused) == (1, {})


def test_the_words_never_quote_the_row(postgresql_url: str, giving_up: threading.Event) -> None:
    with Database.open(postgresql_url) as database:
        refuse_by(database, "raises", "NEW.label = 'refused' AND NEW.label::integer > 0")
        written = RowWriter(database, giving_up).write([row("a"), row("b", "refused")])
        assert written.refused["b"] == ("invalid input syntax for type integer: … (SQLSTATE 22P02)")


def test_a_table_that_is_missing_is_waited_for(
    database: Database,
    giving_up: threading.Event,
    in_background: Callable[..., Future[Written]],
) -> None:
    """As in the middle of an operator's work; the row is not lost, and not blamed."""
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE results RENAME TO elsewhere"))
    writer = RowWriter(database, giving_up)
    writing = in_background(writer.write, [row("a")])
    wait_for(lambda: writer.waiting)
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO results"))
    assert writing.result(30).new == 1


def test_a_row_that_cannot_be_named_is_told(database: Database, giving_up: threading.Event) -> None:
    written = RowWriter(database, giving_up).write([row("a"), row("b" * 1000)])
    assert (list(written.rowless), written.new) == (["b" * 1000], 1)
