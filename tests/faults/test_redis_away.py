"""Redis is away, silent, full or forgetful: the worker goes on by itself, and nothing is lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import celery
import pytest
import redis

from labelmill.broker.heartbeat import heartbeat_key
from labelmill.broker.leases import Leases
from labelmill.client import Client, NewJob
from labelmill.core.errors import BrokerUnavailable
from labelmill.local.redis import RedisServer
from tests.support.counting import (
    database_of,
    depth,
    freeze_results,
    rows_of,
    wait_until_nothing_is_left,
)
from tests.support.proxy import Proxy
from tests.support.waiting import wait_for
from tests.support.worker import WorkerProcess, Workers

LOADING = b"-LOADING Redis is loading the dataset in memory\r\n"


def submit(client: Client, number: int, text: str = "pause") -> list[str]:
    return client.submit_many("scripted", [NewJob(text=f"{text} {i}") for i in range(number)]).ids


def answers_remote_control(workers: Workers, worker: WorkerProcess) -> bool:
    """Whether Celery's own loop is at work, beside the pipeline."""
    app = celery.Celery("shop", broker=workers.producers_url or workers.broker_url)
    with app.connection_for_write():
        return app.control.inspect([worker.name], timeout=1).ping() is not None


def test_connections_that_are_reset_under_load(workers: Workers, proxy: Proxy) -> None:
    worker = workers.start()
    with workers.client() as client, workers.broker() as broker:
        freeze_results(database_of(client))
        ids = submit(client, 600)
        for rows in (50, 150, 250, 350, 450):
            wait_for(lambda rows=rows: len(database_of(client).results.get_many(ids)) >= rows)
            proxy.cut()
        results = rows_of(client, ids)
        wait_until_nothing_is_left(broker)
        wait_for(lambda: answers_remote_control(workers, worker))
    assert {row.status for row in results} == {"succeeded"}
    assert worker.process.poll() is None


def test_connections_that_are_half_open(workers: Workers, proxy: Proxy, tmp_path: Path) -> None:
    worker = workers.start()
    with workers.client() as client, workers.broker() as broker:
        held = client.submit_text("scripted", f"hold {tmp_path / 'go'}")
        wait_for((tmp_path / "go.started").exists)
        proxy.half_open()
        (tmp_path / "go").touch()
        ids = [held, *submit(client, 20)]
        rows_of(client, ids)
        wait_until_nothing_is_left(broker)
        wait_for(lambda: answers_remote_control(workers, worker))
    assert worker.process.poll() is None


@pytest.mark.parametrize("fault", ["refuse", "stall", "loading"])
def test_an_absence_of_many_leases(
    workers: Workers, proxy: Proxy, tmp_path: Path, fault: str
) -> None:
    """Its leases expire meanwhile; what it has committed is not run again."""
    workers.configure(lease_seconds="0.5")
    worker = workers.start()
    with workers.client() as client, workers.broker() as broker:
        freeze_results(database_of(client))
        held = client.submit_text("scripted", f"hold {tmp_path / 'go'}")
        wait_for((tmp_path / "go.started").exists)
        counted = client.submit_text("scripted", f"count {tmp_path / 'count'}")
        wait_for(lambda: depth(broker)["leased"] == 2)
        if fault == "loading":
            proxy.answer(LOADING)
        else:
            getattr(proxy, fault)()
        (tmp_path / "go").touch()
        # Its row is written, and cannot be acknowledged.
        assert client.wait(held).attempt == 1
        started = server_seconds(broker)
        wait_for(lambda: server_seconds(broker) > started + 4)
        assert worker.process.poll() is None
        proxy.resume()
        rows_of(client, [held, counted, *submit(client, 20)])
        wait_until_nothing_is_left(broker)
    # A second worker would have been free to take it; this one has not run it twice.
    assert (tmp_path / "count").read_bytes() == b"."
    assert worker.process.poll() is None


def server_seconds(broker: redis.Redis) -> float:
    seconds, microseconds = broker.time()
    return float(seconds + microseconds / 1e6)


def test_a_server_that_is_killed_and_has_its_log(workers: Workers, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server:
        workers.broker_url = server.url
        worker = workers.start()
        with workers.client() as client, workers.broker() as broker:
            ids = submit(client, 600)
            for rows in (100, 300):
                wait_for(lambda rows=rows: len(database_of(client).results.get_many(ids)) >= rows)
                server.kill()
                server.start()
            results = rows_of(client, ids)
            wait_until_nothing_is_left(broker)
        assert {row.status for row in results} == {"succeeded"}
        assert worker.process.poll() is None


def test_scripts_that_are_forgotten_under_load(workers: Workers) -> None:
    """As after a failover to a server that has the data and not the scripts."""
    workers.start()
    with workers.client() as client, workers.broker() as broker:
        ids = submit(client, 400)
        for rows in (50, 150, 250):
            wait_for(lambda rows=rows: len(database_of(client).results.get_many(ids)) >= rows)
            broker.script_flush()
        results = rows_of(client, ids)
        wait_until_nothing_is_left(broker)
    assert {(row.status, row.attempt) for row in results} == {("succeeded", 1)}


def test_a_full_server(workers: Workers) -> None:
    """Producers are told; workers start, say that they live, and empty it."""
    with RedisServer() as server:
        workers.broker_url = server.url
        workers.configure(lease_seconds="0.5", max_attempts="1")
        with workers.client() as client, workers.broker() as broker:
            ids = submit(client, 200)
            # One whose worker has died: it will be poisoned.
            Leases(broker, duration=0.001).take("scripted", 1, claim=True)
            broker.config_set("maxmemory", "1mb")
            with pytest.raises(BrokerUnavailable):
                client.submit_text("scripted", "one too many")
            worker = workers.start(wait=False)
            results = rows_of(client, ids)
            wait_until_nothing_is_left(broker)
            assert depth(broker)["dead"] == 1
            assert broker.exists(heartbeat_key(worker.name))
            broker.config_set("maxmemory", "0")
            workers.wait_ready(worker)
            assert client.wait(client.submit_text("scripted", "room again")).status == "succeeded"
        assert worker.process.poll() is None
    assert [row.error_code for row in results if row.status == "failed"] == ["poisoned"]


@pytest.mark.parametrize("fault", ["refuse", "stall", "loading"])
def test_producers_are_told(workers: Workers, proxy: Proxy, fault: str) -> None:
    with Client(workers.broker_url, workers.database_url) as client:
        client.submit_text("scripted", "before")
        if fault == "loading":
            proxy.answer(LOADING)
        else:
            getattr(proxy, fault)()
        with pytest.raises(BrokerUnavailable):
            client.submit_text("scripted", "meanwhile", id="again")
        proxy.resume()
        assert client.submit_text("scripted", "after", id="again") == "again"


@pytest.mark.parametrize(
    "signals", [[signal.SIGTERM], [signal.SIGTERM, signal.SIGTERM], [signal.SIGQUIT]]
)
def test_a_worker_ends_while_redis_is_silent(
    workers: Workers, proxy: Proxy, tmp_path: Path, signals: list[signal.Signals]
) -> None:
    workers.configure(lease_seconds="1", shutdown_grace="4")
    worker = workers.start()
    with workers.client() as client, workers.broker() as broker:
        held = client.submit_text("scripted", f"hold {tmp_path / 'go'}")
        wait_for((tmp_path / "go.started").exists)
        ids = [held, *submit(client, 20)]
        wait_for(lambda: depth(broker)["leased"] == 21)
        proxy.stall()
        # Celery's loop has met the silence by then, if it is to.
        assert_silence(broker)
        for each in signals:
            os.kill(worker.pid, each)
        if signals == [signal.SIGTERM]:
            (tmp_path / "go").touch()
            assert client.wait(held).attempt == 1  # the device's group is finished and written
        worker.process.wait(4 + 3 + 20)  # the last of it for a busy machine
        (tmp_path / "go").touch()
        proxy.resume()
        workers.start()
        rows_of(client, ids)
        wait_until_nothing_is_left(broker)


def assert_silence(broker: redis.Redis) -> None:
    """Wait until the worker's leases have expired, as it cannot renew them."""
    started = server_seconds(broker)
    wait_for(lambda: server_seconds(broker) > started + 2.5)
