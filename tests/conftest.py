"""What the tests share: a Redis, a PostgreSQL, and a fresh database for every test.

The servers start when the first test asks for them; a test that needs none starts none.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from redis import Redis
from sqlalchemy.engine import make_url

from labelmill.db.database import Database
from labelmill.db.schema import upgrade
from labelmill.local.postgres import PostgresServer
from labelmill.local.redis import RedisServer
from tests.support.worker import OTHER_VERSION, Workers

_numbers = count(1)
_PILLOWS_LIMIT = 1024 * 1024 * 1024 // 4 // 3  # of its own accord

# Beside each other, tests and what they start have a core each; several threads of torch would
# wait for one another in busy loops. And a pool of compilers imports torch in each.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

# How fast an example is depends on what else the machine does, and is no test's business.
settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any speed")


@pytest.fixture(autouse=True)
def pillows_limit() -> Iterator[None]:
    """Pillow's limit of pixels, which is the process's, as it was before the test."""
    yield
    if "PIL.Image" in sys.modules:
        sys.modules["PIL.Image"].MAX_IMAGE_PIXELS = _PILLOWS_LIMIT  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis for all tests. A test that kills a server starts one of its own."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL for all tests. A test that kills a server starts one of its own."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of an empty Redis."""
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def broker(redis_url: str) -> Iterator[Redis]:
    """A connection to an empty Redis."""
    with Redis.from_url(redis_url) as broker:
        yield broker


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file that every test copies, which is faster than migrating every time."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgresql(postgres_server: PostgresServer) -> str:
    """The name of a database that every test copies."""
    name = "template_migrated"
    _command(postgres_server, f"CREATE DATABASE {name}")
    _migrate(_url_of(postgres_server, name))
    return name


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """The URL of an empty, migrated SQLite database."""
    return f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'labelmill.db')}"


@pytest.fixture
def postgresql_url(postgres_server: PostgresServer, migrated_postgresql: str) -> Iterator[str]:
    """The URL of an empty, migrated PostgreSQL database."""
    with _database(postgres_server, template=migrated_postgresql) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty, migrated database: the test runs once on each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def bare_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables: the test runs once on each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'bare.db'}"
        return
    with _database(request.getfixturevalue("postgres_server")) as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database on an empty, migrated database: the test runs once on each kind."""
    with Database.open(database_url) as database:
        yield database


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all workers of all of pytest's remember what was measured of a model."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"


@pytest.fixture
def workers(redis_url: str, sqlite_url: str, tmp_path: Path, cache_dir: Path) -> Iterator[Workers]:
    """Worker processes with the scripted engine, on an empty Redis and a fresh SQLite database."""
    yield from _workers(redis_url, sqlite_url, tmp_path, cache_dir)


@pytest.fixture
def workers_on_each(
    redis_url: str, database_url: str, tmp_path: Path, cache_dir: Path
) -> Iterator[Workers]:
    """Like ``workers``; the test runs once on each kind of database."""
    yield from _workers(redis_url, database_url, tmp_path, cache_dir)


def _workers(redis_url: str, database_url: str, folder: Path, cache_dir: Path) -> Iterator[Workers]:
    workers = Workers(redis_url, database_url, folder)
    workers.configure(cache_dir=str(cache_dir))
    yield workers
    workers.stop()


@contextmanager
def _database(server: PostgresServer, template: str = "template1") -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    _command(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield _url_of(server, name)
    # By force: a test that kills its processes leaves connections behind.
    _command(server, f"DROP DATABASE {name} WITH (FORCE)")


def _migrate(url: str) -> None:
    _, revision = upgrade(url)
    if OTHER_VERSION in os.environ:
        # Workers of another version may look for it where it was before it had a table of our own.
        with Database.open(url) as database, database.engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32))")
            connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{revision}')")


def _url_of(server: PostgresServer, database: str) -> str:
    url = make_url(server.url).set(database=database)
    return url.render_as_string(hide_password=False)


def _command(server: PostgresServer, command: str) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(command.encode())
