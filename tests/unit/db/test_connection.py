from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from sqlalchemy import text

from labelmill.core.errors import ConfigurationError
from labelmill.db import connection
from labelmill.db.connection import create_database_engine, for_writing


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://user:hunter2@host/results", "mysql"),
        ("postgresql+asyncpg://user:hunter2@host/results", "asyncpg"),
        ("hunter2", "cannot be read"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
    ],
)
def test_urls_that_cannot_be_used(url: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as caught:
        create_database_engine(url)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_postgresql(scheme: str) -> None:
    engine = create_database_engine(f"{scheme}://user@host/results")

    assert (engine.dialect.name, engine.dialect.driver) == ("postgresql", "psycopg")


def test_postgresql_without_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "find_spec", lambda _name: None)

    with pytest.raises(ConfigurationError, match=r"labelmill\[postgres\]") as caught:
        create_database_engine("postgresql://user:hunter2@host/results")

    assert "hunter2" not in str(caught.value)


def test_the_folder_of_a_database_is_made(tmp_path: Path) -> None:
    engine = create_database_engine(f"sqlite:///{tmp_path}/new/folder/labelmill.db")
    engine.connect().close()
    engine.dispose()

    assert (tmp_path / "new" / "folder" / "labelmill.db").exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigurationError, match="cannot make the folder"):
        create_database_engine(f"sqlite:///{tmp_path}/file/labelmill.db")


def test_sqlite_is_set_up_for_many_processes(tmp_path: Path) -> None:
    engine = create_database_engine(f"sqlite:///{tmp_path}/labelmill.db")
    with engine.connect() as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "busy_timeout")
        }
    engine.dispose()

    assert pragmas == {"journal_mode": "wal", "synchronous": 1, "busy_timeout": 30000}


def test_a_writing_transaction_begins_as_a_writer(tmp_path: Path) -> None:
    engine = create_database_engine(f"sqlite:///{tmp_path}/labelmill.db")
    impatient = sqlite3.connect(tmp_path / "labelmill.db", timeout=0, isolation_level=None)

    with for_writing(engine).begin(), pytest.raises(sqlite3.OperationalError, match="locked"):
        impatient.execute("BEGIN IMMEDIATE")
    with engine.begin():
        impatient.execute("BEGIN IMMEDIATE")

    impatient.close()
    engine.dispose()


def test_processes_that_open_a_fresh_file_and_read_before_they_write(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/labelmill.db"
    with get_context("spawn").Pool(4) as pool:
        pool.map(count_up, [url] * 4, chunksize=1)
        pool.close()
        pool.join()

    engine = create_database_engine(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT n FROM counter")).scalar_one() == 4 * 50
    engine.dispose()


def count_up(url: str) -> None:
    engine = create_database_engine(url)
    writer = for_writing(engine)
    with writer.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS counter (id INT UNIQUE, n INT)"))
        connection.execute(text("INSERT OR IGNORE INTO counter VALUES (1, 0)"))
    for _ in range(50):
        with writer.begin() as connection:
            n = connection.execute(text("SELECT n FROM counter")).scalar_one()
            connection.execute(text("UPDATE counter SET n = :n"), {"n": n + 1})
    engine.dispose()


def test_threads_that_open_a_fresh_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/labelmill.db"

    def open_it(_: int) -> str:
        engine = create_database_engine(url)
        with engine.connect() as connection:
            mode: str = connection.execute(text("PRAGMA journal_mode")).scalar_one()
        engine.dispose()
        return mode

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(open_it, range(8))) == {"wal"}
