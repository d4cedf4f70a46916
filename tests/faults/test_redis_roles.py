"""Redis changes roles or refuses: all wait for it, say so once, and go on by themselves."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
import redis

from labelmill.broker.group import ConsumerGroup
from labelmill.broker.heartbeat import heartbeat_of
from labelmill.client import Client
from labelmill.core.errors import BrokerUnavailable
from labelmill.local.redis import RedisServer
from labelmill.recovery.reconciler import reconciling
from tests.faults.test_redis_away import answers_remote_control, submit
from tests.support.counting import (
    database_of,
    freeze_results,
    rows_of,
    wait_until_nothing_is_left,
)
from tests.support.gateway import serving, settings_for
from tests.support.proxy import Proxy
from tests.support.redis_roles import admin, promote, replicate, share_password
from tests.support.waiting import wait_for
from tests.support.worker import WorkerProcess, Workers

REFUSALS = {
    "READONLY": "You can't write against a read only replica.",
    "LOADING": "Redis is loading the dataset in memory",
    "MASTERDOWN": "Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "CLUSTERDOWN": "The cluster is down",
    "TRYAGAIN": "Multiple keys request during rehashing of slot",
    "NOSCRIPT": "No matching script. Please use EVAL.",
    "BUSY": "Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "OOM": "command not allowed when used memory > 'maxmemory'.",
    "UNKILLABLE": "Sorry the script already executed write commands against the dataset.",
    "UNBLOCKED": "force unblock from blocking operation, instance state changed",
    "MISCONF": "Redis is configured to save RDB snapshots, but is unable to persist on disk.",
    "NOREPLICAS": "Not enough good replicas to write.",
    "NOAUTH": "Authentication required.",
    "WRONGPASS": "invalid username-password pair or user is disabled.",
    "NOPERM": "this user has no permissions to run the 'evalsha' command",
    "MOVED": "3999 127.0.0.1:6381",
    "DENIED": "Redis is running in protected mode",
    "INPROG": "Failover already in progress",  # any word that is not known here
    "ERR": "max number of clients reached",
}


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis of one test's own, as it is told to refuse."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def proxy(server: RedisServer, workers: Workers) -> Iterator[Proxy]:
    """The way of all to Redis; only who runs it has another."""
    with Proxy(server.port) as proxy:
        workers.producers_url = server.url
        workers.broker_url = proxy.url_of(server.url)
        yield proxy
        workers.stop()


def waits_for_redis(workers: Workers, worker: WorkerProcess) -> bool:
    with workers.broker() as broker:
        beat = heartbeat_of(broker, worker.name)
    return beat is not None and beat["waiting_for"] == "redis"


def test_whatever_redis_says_is_waited_out(workers: Workers, proxy: Proxy, tmp_path: Path) -> None:
    """By one worker, one client, one gateway and one reconciler, one word after the other."""
    workers.configure(lease_seconds="0.6")
    worker = workers.start()
    settings = settings_for(tmp_path, workers.broker_url, workers.database_url)
    with (
        Client(workers.broker_url, workers.database_url) as client,
        workers.broker() as broker,
        serving(settings) as gateway,
        reconciling(workers.broker_url, workers.database_url, 0.001, 1000) as reconciler,
    ):
        freeze_results(database_of(client))
        client.submit_text("nobody", "waits, so that the reconciler has something to look for")
        for word, text in REFUSALS.items():
            proxy.answer(f"-{word} {text}\r\n".encode())
            with pytest.raises(BrokerUnavailable, match=f"{word}|{text}|NoScript"):
                client.submit_text("scripted", "meanwhile", id=word)
            with pytest.raises(BrokerUnavailable):
                reconciler.sweep()
            assert gateway.get("/v1/dead").status_code == 503
            said = "Redis does not answer" if word in ("NOSCRIPT", "ERR") else f"says {word}: "
            wait_for(lambda said=said: said in worker.text())
        proxy.resume()
        for word in REFUSALS:
            client.submit_text("scripted", "meanwhile", id=word)
        assert {row.status for row in rows_of(client, list(REFUSALS))} == {"succeeded"}
        assert gateway.get("/v1/dead").status_code == 200
        reconciler.sweep()
        wait_until_nothing_is_left(broker)
        wait_for(lambda: "Redis answers again" in worker.text())
        wait_for(lambda: answers_remote_control(workers, worker))
    assert worker.process.poll() is None
    for word in set(REFUSALS) - {"NOSCRIPT", "ERR"}:
        assert worker.text().count(f"says {word}: ") == 1
    assert len(worker.text().splitlines()) < 150


def test_the_primary_is_demoted_behind_open_connections(
    workers: Workers, server: RedisServer, proxy: Proxy, tmp_path: Path
) -> None:
    """New connections are led to the new primary; the old ones stay where they are."""
    workers.configure(lease_seconds="1")
    with RedisServer() as other:
        share_password([server, other])
        replicate(other, server)
        worker = workers.start()
        settings = settings_for(tmp_path, workers.broker_url, workers.database_url)
        with (
            Client(workers.broker_url, workers.database_url) as client,
            serving(settings) as gateway,
            reconciling(workers.broker_url, workers.database_url, 0.001, 1000) as reconciler,
        ):
            readers = ConsumerGroup(workers.broker_url, "readers")
            readers.join()
            freeze_results(database_of(client))
            client.submit_text("nobody", "looked for")
            ids = submit(client, 300)
            assert gateway.get("/v1/dead").status_code == 200
            reconciler.sweep()
            wait_for(lambda: len(database_of(client).results.get_many(ids)) >= 100)
            with admin(server) as old:
                old.execute_command("WAIT", 1, 0)
            promote(other)
            proxy.switch(other.port)
            with admin(server) as old:
                old.replicaof("127.0.0.1", str(other.port))
            workers.producers_url = other.url
            ids += [client.submit_text("scripted", "at once", id="at-once")]
            assert gateway.get("/v1/dead").status_code == 200
            assert gateway.post("/v1/jobs", json={"model": "texts", "text": "x"}).is_success
            reconciler.sweep()
            assert {row.status for row in rows_of(client, ids)} == {"succeeded"}
            wait_for(lambda: readers.take(1000))
            readers.close()
            with admin(other) as broker:
                wait_until_nothing_is_left(broker)
            wait_for(lambda: answers_remote_control(workers, worker))
        assert worker.process.poll() is None
        with admin(server) as old:
            # Nobody asks it any more.
            wait_for(lambda: all(int(each["idle"]) > 1 for each in others(old)))


def others(broker: redis.Redis) -> list[dict[str, str]]:
    me = broker.client_id()
    return [
        each
        for kind in ("normal", "pubsub")
        for each in broker.client_list(_type=kind)
        if int(each["id"]) != me
    ]


def test_a_replica_that_serves_nobody(workers: Workers, proxy: Proxy, server: RedisServer) -> None:
    """A worker that is started meanwhile waits too; the heartbeat cannot be written."""
    with RedisServer() as other:
        share_password([server, other])
        replicate(server, other)
        with admin(server) as broker:
            broker.config_set("replica-serve-stale-data", "no")
            other.kill()
            worker = workers.start(wait=False)
            wait_for(lambda: "Redis says MASTERDOWN: " in worker.text())
            promote(server)
            workers.wait_ready(worker)
    assert worker.process.poll() is None


@contextmanager
def rotated_password(broker: redis.Redis, server: RedisServer) -> Iterator[None]:
    broker.config_set("requirepass", "another")
    kill_others(broker)
    yield
    broker.config_set("requirepass", server._password)


@contextmanager
def narrower_rules(broker: redis.Redis, _: RedisServer) -> Iterator[None]:
    """The worker's scripts may not write any more; whoever is connected stays."""
    broker.acl_setuser("default", enabled=True, keys=["*"], commands=["+@all", "-hset", "-del"])
    yield
    broker.acl_setuser("default", enabled=True, keys=["*"], commands=["+@all"])


@contextmanager
def too_few_replicas(broker: redis.Redis, _: RedisServer) -> Iterator[None]:
    broker.config_set("min-replicas-to-write", 1)
    yield
    broker.config_set("min-replicas-to-write", 0)


@contextmanager
def failed_snapshot(broker: redis.Redis, server: RedisServer) -> Iterator[None]:
    assert server._directory is not None
    shutil.rmtree(server._directory)
    broker.config_set("save", "3600 1000000")
    broker.bgsave()
    wait_for(lambda: broker.info("persistence")["rdb_last_bgsave_status"] == "err")
    yield
    broker.config_set("save", "")


@contextmanager
def busy_script(broker: redis.Redis, server: RedisServer) -> Iterator[None]:
    broker.config_set("busy-reply-threshold", 10)

    def run() -> None:
        with redis.Redis.from_url(server.url) as strangers, suppress(redis.RedisError):
            strangers.eval("while true do end", 0)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    broker.script_kill()
    thread.join()


@contextmanager
def no_more_clients(broker: redis.Redis, _: RedisServer) -> Iterator[None]:
    broker.config_set("maxclients", 1)
    kill_others(broker)
    yield
    broker.config_set("maxclients", 1000)


def kill_others(broker: redis.Redis) -> None:
    broker.client_kill_filter(_type="normal", skipme=True)


Fault = Callable[[redis.Redis, RedisServer], AbstractContextManager[None]]
REAL: list[tuple[Fault, str]] = [
    (rotated_password, "WRONGPASS"),
    (narrower_rules, "NOPERM"),
    (too_few_replicas, "NOREPLICAS"),
    (busy_script, "BUSY"),
    (no_more_clients, "Redis does not answer"),  # it says more, and may close before that is read
    (failed_snapshot, "MISCONF"),
]


def test_what_a_real_server_refuses_is_waited_out(
    workers: Workers, proxy: Proxy, server: RedisServer
) -> None:
    workers.configure(lease_seconds="0.6")
    worker = workers.start()
    with (
        Client(workers.broker_url, workers.database_url) as client,
        redis.Redis.from_url(server.url, single_connection_client=True) as broker,
    ):
        freeze_results(database_of(client))
        ids = []
        for number, (fault, word) in enumerate(REAL):
            before = len(worker.text())

            def said(words: str, before: int = before) -> bool:
                return words in worker.text()[before:]

            with fault(broker, server):
                wait_for(lambda said=said, word=word: said(word))
                if fault is not narrower_rules:
                    with pytest.raises(BrokerUnavailable, match=word):
                        client.submit_text("scripted", "meanwhile", id=str(number))
            wait_for(lambda said=said: said("Redis answers again"))
            assert worker.text()[before:].count(word) <= 2, word  # Celery's own loop may say it too
            ids.append(client.submit_text("scripted", "meanwhile", id=str(number)))
            rows_of(client, ids)
        for blocked in broker.client_list():
            if "b" in blocked["flags"]:
                broker.client_unblock(blocked["id"], error=True)
        rows_of(client, [*ids, *submit(client, 20)])
        wait_until_nothing_is_left(broker)
        wait_for(lambda: answers_remote_control(workers, worker))
        assert worker.process.poll() is None


def test_the_heartbeat_says_what_is_waited_for(
    workers: Workers, proxy: Proxy, server: RedisServer
) -> None:
    """Where it can be written: here takes are refused, and heartbeats are not."""
    worker = workers.start()
    with workers.client() as client, workers.broker() as broker:
        broker.acl_setuser("default", enabled=True, keys=["*"], commands=["+@all", "-blmove"])
        client.wait(client.submit_text("scripted", "ends the wait under way"))
        wait_for(lambda: waits_for_redis(workers, worker))
        health = workers.run("health", "--name", worker.name)
        assert (health.returncode, health.stdout) == (0, "alive, but waiting for Redis\n")
        broker.acl_setuser("default", enabled=True, keys=["*"], commands=["+@all"])
        wait_for(lambda: not waits_for_redis(workers, worker))


@pytest.mark.parametrize("command", ["worker", "health", "status", "dead list"])
def test_a_wrong_password_at_the_start_is_one_line(
    workers: Workers, server: RedisServer, command: str
) -> None:
    workers.broker_url = f"redis://:wrong@127.0.0.1:{server.port}/0"
    ended = workers.run(*command.split())
    assert ended.returncode == 3
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("error: Redis says WRONGPASS: ")
    assert "wrong@" not in ended.stderr
