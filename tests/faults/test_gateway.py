"""The gateway when what it needs is away: it says so in time, and goes on afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import redis

from labelmill.db.database import Database
from labelmill.db.schema import upgrade
from labelmill.local.postgres import PostgresServer
from labelmill.local.process import free_port
from labelmill.local.redis import RedisServer
from labelmill.recovery.reconciler import reconciling
from tests.support.gateway import serving, settings_for
from tests.support.waiting import wait_for

JOB = {"model": "texts", "text": "Hello"}
ANSWER_SECONDS = 1.5
BOUND_SECONDS = 10 * ANSWER_SECONDS  # for one that is told after ANSWER_SECONDS, on a busy machine


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """The process and its children neither answer nor end their connections."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for each in processes:
        each.suspend()
    try:
        yield
    finally:
        for each in processes:
            each.resume()


@contextmanager
def stopped(server: RedisServer | PostgresServer) -> Iterator[None]:
    server.kill()
    try:
        yield
    finally:
        server.start()


def assert_away(gateway: httpx.Client, code: str, *paths: str) -> None:
    """Submitting and asking those paths are refused in time; the process itself is well."""
    for ask in (lambda: gateway.post("/v1/jobs", json=JOB), *map(_getting(gateway), paths)):
        before = time.monotonic()
        answer = ask()
        assert time.monotonic() - before < BOUND_SECONDS
        # Of what was under way nobody can say which of the two it was.
        assert answer.status_code == 503
        assert answer.json()["code"] in (code, "unavailable")
        assert answer.headers["retry-after"].isdecimal()
    assert gateway.get("/healthz").status_code == 200


def _getting(gateway: httpx.Client) -> Callable[[str], Callable[[], httpx.Response]]:
    return lambda path: lambda: gateway.get(path)


def assert_well(gateway: httpx.Client) -> None:
    wait_for(lambda: gateway.get("/readyz").status_code == 200)
    accepted = wait_for(lambda: _accepted(gateway))
    assert gateway.get(accepted).json()["state"] == "queued"
    wait_for(lambda: _states(gateway) == ("ok", "ok"))


def _states(gateway: httpx.Client) -> tuple[str, str]:
    health = gateway.get("/v1/health").json()
    return health["redis"], health["database"]


def _accepted(gateway: httpx.Client) -> str | None:
    answer = gateway.post("/v1/jobs", json=JOB)
    return answer.headers["location"] if answer.status_code == 202 else None


@pytest.mark.parametrize("kind", ["frozen", "away"])
def test_without_redis_it_says_so_in_time_and_then_goes_on(
    sqlite_url: str, tmp_path: Path, kind: str
) -> None:
    with RedisServer() as server:
        settings = settings_for(tmp_path, server.url, sqlite_url, answer_seconds=ANSWER_SECONDS)
        with serving(settings) as gateway:
            assert_well(gateway)
            with frozen(server.pid) if kind == "frozen" else stopped(server):
                # What was looked up just now is still good for a moment.
                wait_for(lambda: gateway.get("/v1/models").status_code == 503)
                assert_away(gateway, "redis_away", "/v1/models", "/v1/dead", "/readyz")
                wait_for(lambda: gateway.get("/v1/results").status_code == 200)
                wait_for(lambda: _states(gateway) == ("away", "ok"))
                health = gateway.get("/v1/health").json()
                assert health["workers"] is None
                assert health["queues"][0]["waiting"] is None
            assert_well(gateway)


# What was stuck in a frozen PostgreSQL is left to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["frozen", "away"])
def test_without_the_database_it_says_so_in_time_and_then_goes_on(
    redis_url: str, tmp_path: Path, kind: str
) -> None:
    with PostgresServer() as server:
        upgrade(server.url)
        settings = settings_for(tmp_path, redis_url, server.url, answer_seconds=ANSWER_SECONDS)
        with serving(settings) as gateway:
            assert_well(gateway)
            with frozen(server.pid) if kind == "frozen" else stopped(server):
                # More than there are threads: those that are stuck must not stop the others.
                for _ in range(2):
                    assert_away(gateway, "database_away", *["/v1/results", "/v1/runs"] * 2)
                wait_for(lambda: _states(gateway) == ("ok", "away"))
                assert gateway.get("/v1/health").json()["failures"] is None
            assert_well(gateway)


def test_killed_between_the_ledger_and_the_queue_it_loses_nothing(
    sqlite_url: str, tmp_path: Path
) -> None:
    with RedisServer() as server:
        settings = settings_for(tmp_path, server.url, sqlite_url)
        port = free_port()
        environment = os.environ | {
            "LABELMILL_BROKER_URL": server.url,
            "LABELMILL_DATABASE_URL": sqlite_url,
            "LABELMILL_MODELS_FILE": str(settings.models_file),
        }
        command = [sys.executable, "-m", "labelmill", "serve", "--port", str(port)]
        with (
            subprocess.Popen(command, env=environment) as process,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as gateway,
            Database.open(sqlite_url) as database,
        ):
            wait_for(lambda: _is_ready(gateway))
            gateway.get("/v1/models")
            assert gateway.post("/v1/jobs", json=JOB).status_code == 202
            with frozen(server.pid):
                # The bound on the queue was looked up just now, so the ledger is written.
                with pytest.raises(httpx.ReadTimeout):
                    gateway.post("/v1/jobs", json=JOB | {"id": "lost"}, timeout=0.5)
                wait_for(lambda: database.jobs.get("lost"))
                process.send_signal(signal.SIGKILL)
                process.wait()
        with redis.Redis.from_url(server.url) as broker:
            broker.flushall()
        with reconciling(server.url, sqlite_url, 0.001, 100_000) as reconciler:
            assert wait_for(lambda: reconciler.sweep().sent) >= 1
        with redis.Redis.from_url(server.url) as broker:
            assert any(b'"id":"lost"' in message for message in broker.lrange("texts", 0, -1))


def _is_ready(gateway: httpx.Client) -> bool:
    try:
        return gateway.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
