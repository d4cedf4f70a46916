"""The database is away: groups wait in memory, nothing is acknowledged, nothing runs twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labelmill.broker.heartbeat import heartbeat_key
from labelmill.client import NewJob
from labelmill.db.schema import upgrade
from labelmill.local.postgres import PostgresServer
from tests.support.counting import (
    database_of,
    depth,
    freeze_results,
    rows_of,
    wait_until_nothing_is_left,
)
from tests.support.proxy import Proxy
from tests.support.waiting import wait_for
from tests.support.worker import SCRIPTED_MODELS, WorkerProcess, Workers

GROUP_SIZE = 4


@pytest.fixture
def workers_on_postgresql(postgresql_url: str, redis_url: str, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(redis_url, postgresql_url, tmp_path)
    workers.configure(SCRIPTED_MODELS + f"group_size = {GROUP_SIZE}\n", lease_seconds="1")
    yield workers
    workers.stop()


def waits_for_database(workers: Workers, worker: WorkerProcess) -> bool:
    """Whether the worker's heartbeat says so."""
    with workers.broker() as broker:
        beat = broker.get(heartbeat_key(worker.name))
    return beat is not None and json.loads(beat)["waiting_for"] == "database"


def health(workers: Workers, worker: WorkerProcess) -> str:
    words = [sys.executable, "-m", "labelmill", "health", "--name", worker.name]
    asked = subprocess.run(
        words, env=workers.environment(), cwd=workers.folder, capture_output=True, check=True
    )
    return asked.stdout.decode().strip()


def test_an_unreachable_database(
    workers_on_postgresql: Workers, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    workers = workers_on_postgresql
    direct = workers.database_url
    with Proxy(postgres_server.port) as proxy:
        workers.database_url = proxy.url_of(direct)
        worker = workers.start()
        workers.database_url = direct
        with workers.client() as client, workers.broker() as broker:
            freeze_results(database_of(client))
            client.wait(before := client.submit_text("scripted", "before"))
            proxy.refuse()
            jobs = [NewJob(text=f"count {tmp_path / f'count{i}'}") for i in range(100)]
            ids = client.submit_many("scripted", jobs).ids
            wait_for(lambda: waits_for_database(workers, worker))
            assert health(workers, worker) == "alive, but waiting for the database"
            # What is in its hands is bounded, and renewed for many leases.
            started = int(broker.time()[0])
            wait_for(lambda: int(broker.time()[0]) > started + 3)
            assert depth(broker)["leased"] <= 6 * GROUP_SIZE
            assert depth(broker)["waiting"] >= 100 - 6 * GROUP_SIZE
            proxy.resume()
            rows = rows_of(client, [before, *ids])
            wait_until_nothing_is_left(broker)
            wait_for(lambda: not waits_for_database(workers, worker))
            assert health(workers, worker) == "alive"
        assert worker.process.poll() is None
        workers.stop()
    assert {(row.status, row.attempt) for row in rows} == {("succeeded", 1)}
    assert {(tmp_path / f"count{i}").read_bytes() for i in range(100)} == {b"."}


def test_a_server_that_is_killed_and_starts_again(workers: Workers, tmp_path: Path) -> None:
    with PostgresServer() as server:
        upgrade(server.url)
        workers.database_url = server.url
        worker = workers.start()
        with workers.client() as client, workers.broker() as broker:
            held = client.submit_text("scripted", f"hold {tmp_path / 'go'}")
            wait_for((tmp_path / "go.started").exists)
            ids = client.submit_many("scripted", [NewJob(text=f"t{i}") for i in range(20)]).ids
            server.kill()
            (tmp_path / "go").touch()
            wait_for(lambda: waits_for_database(workers, worker))
            server.start()
            rows = rows_of(client, [held, *ids])
            wait_until_nothing_is_left(broker)
        assert worker.process.poll() is None
        workers.stop()
    assert {(row.status, row.attempt) for row in rows} == {("succeeded", 1)}


def test_sigterm_while_the_database_is_away(
    workers_on_postgresql: Workers, postgres_server: PostgresServer
) -> None:
    workers = workers_on_postgresql
    workers.configure(SCRIPTED_MODELS, shutdown_grace="2")
    direct = workers.database_url
    with Proxy(postgres_server.port) as proxy:
        workers.database_url = proxy.url_of(direct)
        worker = workers.start()
        workers.database_url = direct
        with workers.client() as client, workers.broker() as broker:
            proxy.refuse()
            ids = client.submit_many("scripted", [NewJob(text=f"t{i}") for i in range(300)]).ids
            wait_for(lambda: waits_for_database(workers, worker))
            worker.process.terminate()
            worker.process.wait(2 + 3 + 20)
            # All went back at once: no lease is left to expire.
            assert depth(broker) == {"waiting": 300, "leased": 0, "delayed": 0, "dead": 0}
            workers.start()
            rows = rows_of(client, ids)
        workers.stop()
    assert {(row.status, row.attempt) for row in rows} == {("succeeded", 1)}
