"""Redis loses some of what it was told: the ledger has it, and nothing doubles."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis

from labelmill.client import Client
from labelmill.core.errors import BrokerUnavailable
from labelmill.local.binaries import find_redis
from labelmill.local.process import free_port
from labelmill.local.redis import RedisServer
from labelmill.recovery.reconciler import reconciling
from tests.faults.test_redis_away import answers_remote_control, submit
from tests.support.counting import (
    database_of,
    depth,
    freeze_results,
    rows_of,
    wait_until_nothing_is_left,
)
from tests.support.proxy import Proxy
from tests.support.redis_roles import admin, promote, replicate, replication, share_password
from tests.support.redis_servers import ConfiguredRedis
from tests.support.waiting import wait_for
from tests.support.worker import Supervisor, Workers


def reconcile(workers: Workers, lost: int) -> None:
    """Sweep until the lost jobs were sent again; then nothing more is sent."""
    sent = 0
    with reconciling(
        workers.producers_url or workers.broker_url, workers.database_url, 0.001, 10_000
    ) as reconciler:

        def all_sent() -> bool:
            nonlocal sent
            sent += reconciler.sweep().sent
            return sent >= lost

        wait_for(all_sent)
        assert sent + reconciler.sweep().sent == lost


def test_a_log_whose_end_is_cut_off(workers: Workers, tmp_path: Path) -> None:
    """As by a crash of the machine; Redis starts with the rest."""
    data = tmp_path / "redis"
    with ConfiguredRedis("appendfsync always", directory=data) as server:
        workers.broker_url = server.url
        with workers.client() as client:
            freeze_results(database_of(client))
            ids = submit(client, 100)
            server.kill()
            log = next(data.glob("appendonlydir/*.incr.aof"))
            os.truncate(log, log.stat().st_size // 2)
            server.start()
            with workers.broker() as broker:
                left = depth(broker)["waiting"]
                assert left < 100
                worker = workers.start()
                reconcile(workers, 100 - left)
                assert {row.status for row in rows_of(client, ids)} == {"succeeded"}
                wait_until_nothing_is_left(broker)
        assert worker.process.poll() is None


def test_a_replica_that_lagged_is_promoted(workers: Workers) -> None:
    """It lacks jobs that were acknowledged to producers, and has others that have their row."""
    with RedisServer() as server, RedisServer() as other, Proxy(server.port) as proxy:
        share_password([server, other])
        replicate(other, server)
        workers.broker_url = proxy.url_of(server.url)
        workers.producers_url = server.url
        workers.configure(lease_seconds="0.6", max_attempts="20")
        worker = workers.start()
        with workers.client() as client, admin(server) as old, admin(other) as new:
            freeze_results(database_of(client))
            with stopped(worker.pid):
                done = submit(client, 50)
                old.execute_command("WAIT", 1, 0)
                promote(other)  # which hears nothing from here on
            rows_of(client, done)
            with stopped(worker.pid):
                lost = submit(client, 100)
                server.kill()
                proxy.switch(other.port)
            workers.producers_url = other.url
            reconcile(workers, 100)
            with workers.client() as anew:
                after = submit(anew, 20)
            results = rows_of(client, [*done, *lost, *after])
            assert {row.status for row in results} == {"succeeded"}
            wait_until_nothing_is_left(new)
            wait_for(lambda: answers_remote_control(workers, worker))
        assert worker.process.poll() is None
        workers.stop()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    yield
    os.kill(pid, signal.SIGCONT)


def test_memory_that_is_full_in_the_middle_of_kills(workers: Workers) -> None:
    """Producers are told, or have submitted; whatever was taken on has its row."""
    with RedisServer() as server:
        workers.broker_url = server.url
        workers.configure(lease_seconds="0.6", max_attempts="20")
        supervisor = Supervisor(workers, 2)
        with workers.client() as client, workers.broker() as broker:
            freeze_results(database_of(client))
            ids = submit(client, 100)
            for _ in range(2):
                broker.config_set("maxmemory", broker.info("memory")["used_memory"])
                with pytest.raises(BrokerUnavailable, match="OOM"):  # noqa: PT012 - after a few
                    while True:
                        ids += submit(client, 20)
                wait_for(supervisor.ready).pop().kill()
                supervisor.look()
                broker.config_set("maxmemory", 0)
                ids += submit(client, 20)
            assert {row.status for row in rows_of(client, ids)} == {"succeeded"}
            wait_until_nothing_is_left(broker)
        workers.stop()


@contextmanager
def sentinel(folder: Path, primary: RedisServer) -> Iterator[int]:
    """A process of Redis' own that watches the primary ``ours``; its port."""
    port = free_port()
    config = folder / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
        "requirepass watched\n"
        f"sentinel monitor ours 127.0.0.1 {primary.port} 1\n"
        f"sentinel auth-pass ours {primary._password}\n"
        "sentinel down-after-milliseconds ours 500\n"
        "sentinel failover-timeout ours 3000\n"
    )
    process = subprocess.Popen(
        [find_redis(None), config, "--sentinel"], stdout=subprocess.DEVNULL, cwd=folder
    )
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def test_a_rolling_restart_behind_sentinel(workers: Workers, tmp_path: Path) -> None:
    """The primary ends, another becomes it, and the first comes back as its replica; twice."""
    servers = [ConfiguredRedis("masterauth shared", password="shared") for _ in range(2)]
    with ExitStack() as stack:
        primary, replica = (stack.enter_context(server) for server in servers)
        replicate(replica, primary)
        port = stack.enter_context(sentinel(tmp_path, primary))
        nobody = free_port()
        workers.broker_url = (
            f"sentinel://:shared@127.0.0.1:{nobody},127.0.0.1:{port}/0"
            "?master=ours&sentinel_password=watched"
        )
        watcher = stack.enter_context(
            redis.Redis(port=port, password="watched", decode_responses=True)
        )
        wait_for(lambda: watcher.sentinel_slaves("ours"))
        workers.configure(lease_seconds="0.6", max_attempts="20")
        stack.callback(workers.stop)
        workers.producers_url = primary.url
        worker = workers.start()
        workers.producers_url = None
        client = stack.enter_context(workers.client())
        freeze_results(database_of(client))
        ids: list[str] = []
        for ended, left in ((primary, replica), (replica, primary)):
            ids += submit(client, 200)
            wait_for(lambda ids=ids: database_of(client).results.get_many(ids[-150:]))
            ended.kill()
            wait_for(lambda left=left: is_primary(watcher, left))
            wait_for(lambda ids=ids: submitted(client, ids))
            ended.start()
            replicate(ended, left)
            wait_for(lambda ended=ended: is_known(watcher, ended.port))
        with reconciling(workers.broker_url, workers.database_url, 0.001, 10_000) as reconciler:
            reconciler.sweep()
        assert {row.status for row in rows_of(client, ids)} == {"succeeded"}
        with admin(primary) as broker:
            wait_until_nothing_is_left(broker)
        ended = workers.run("-A", "labelmill.worker", "inspect", "ping", module="celery")
        assert f"{worker.name}: OK" in ended.stdout
        assert worker.process.poll() is None


def submitted(client: Client, ids: list[str]) -> bool:
    try:
        ids.append(client.submit_text("scripted", "anew", id=f"anew-{len(ids)}"))
    except BrokerUnavailable:
        return False
    return True


def is_primary(watcher: redis.Redis, server: RedisServer) -> bool:
    _, port = watcher.sentinel_get_master_addr_by_name("ours")
    with admin(server) as broker:
        return int(port) == server.port and replication(broker)["role"] == "master"


def is_known(watcher: redis.Redis, port: int) -> bool:
    """Whether Sentinel would promote the replica on that port."""
    return any(
        each["port"] == port and not each["is_disconnected"] and each["master-link-status"] == "ok"
        for each in watcher.sentinel_slaves("ours")
    )
