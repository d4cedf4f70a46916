"""The ways to Redis: each for producers, workers, Celery's own loop, the gateway and commands."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import celery
import pytest
import redis

from labelmill.broker.connection import open_broker
from labelmill.broker.group import ConsumerGroup
from labelmill.broker.heartbeat import heartbeat_of
from labelmill.client import Client, NewJob
from labelmill.core.job import TASK_NAME
from labelmill.local.process import free_port
from tests.faults.test_redis_away import answers_remote_control
from tests.support.counting import rows_of, wait_until_nothing_is_left
from tests.support.gateway import serving, settings_for
from tests.support.redis_servers import ConfiguredRedis, make_authority
from tests.support.waiting import wait_for
from tests.support.worker import ROOT, Workers

PAGE = ROOT / "docs" / "how-to" / "redis.md"


@contextmanager
def over_ipv6(_: Path) -> Iterator[str]:
    with ConfiguredRedis("bind 127.0.0.1 ::1") as server:
        yield server.url.replace("127.0.0.1", "[::1]")


@contextmanager
def over_a_socket(folder: Path) -> Iterator[str]:
    path = folder / "redis.sock"
    with ConfiguredRedis(f"unixsocket {path}") as server:
        yield f"unix://:{server._password}@{path}?db=1"


@contextmanager
def over_a_socket_as_celery_has_it(folder: Path) -> Iterator[str]:
    path = folder / "redis.sock"
    with ConfiguredRedis(f"unixsocket {path}") as server:
        yield f"redis+socket://:{server._password}@{path}?virtual_host=1"


@contextmanager
def with_an_authority_of_our_own(folder: Path) -> Iterator[str]:
    """And a client's certificate, without which Redis lets nobody in."""
    tls = folder / "tls"
    tls.mkdir()
    make_authority(tls)
    port = free_port()
    with ConfiguredRedis(
        f"tls-port {port}",
        f"tls-cert-file {tls}/localhost.pem",
        f"tls-key-file {tls}/localhost.key",
        f"tls-ca-cert-file {tls}/ca.pem",
        "tls-auth-clients yes",
    ) as server:
        options = f"ssl_ca_certs={tls}/ca.pem&ssl_certfile={tls}/client.pem"
        address = f"rediss://:{server._password}@localhost:{port}/0"
        yield f"{address}?{options}&ssl_keyfile={tls}/client.key"


@contextmanager
def with_options_of_redis_py(_: Path) -> Iterator[str]:
    with ConfiguredRedis() as server:
        yield (
            f"{server.url}?health_check_interval=30&socket_keepalive=true&protocol=2"
            "&socket_timeout=4&client_name=ours&decode_responses=true&retry_on_timeout=true"
        )


@pytest.mark.parametrize(
    "way",
    [
        over_ipv6,
        over_a_socket,
        over_a_socket_as_celery_has_it,
        with_an_authority_of_our_own,
        with_options_of_redis_py,
    ],
)
def test_every_way_leads_everybody_to_redis(
    workers: Workers, tmp_path: Path, way: Callable[[Path], AbstractContextManager[str]]
) -> None:
    with ExitStack() as stack:
        workers.broker_url = url = stack.enter_context(way(tmp_path))
        stack.callback(workers.stop)
        worker = workers.start(wait=False)
        broker = stack.enter_context(open_broker(url))
        wait_for(lambda: "ready." in worker.text() or worker.process.poll() is not None)
        wait_for(lambda: heartbeat_of(broker, worker.name))
        client = stack.enter_context(workers.client())
        gateway = stack.enter_context(
            serving(settings_for(tmp_path, url, workers.database_url, rate_limit_storage="redis"))
        )
        assert gateway.post("/v1/jobs", json={"model": "texts", "text": "x"}).is_success
        rows_of(client, [client.submit_text("scripted", "there and back")])
        inspected = workers.run("-A", "labelmill.worker", "inspect", "ping", module="celery")
        assert f"{worker.name}: OK" in inspected.stdout, inspected.stderr
        assert workers.run("health", "--name", worker.name).stdout == "alive\n"
        status = workers.run("status", "--json")
        assert worker.name in status.stdout
        wait_until_nothing_is_left(broker)
    assert worker.process.poll() is not None


def rules(models: str) -> dict[str, list[str]]:
    """What the page lets each user do, for the queue of the tests and those of its gateway."""
    found = re.findall(r"^user (\S+) on >\S+ (.+)$", PAGE.read_text(), re.MULTILINE)
    return {name: text.replace("~topics* ~digits*", models).split() for name, text in found}


def test_everybody_does_with_the_rules_of_the_page(
    workers: Workers, broker: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    queues = "~scripted* ~texts* ~images*"
    urls = {}
    for name, words in rules(queues).items():
        broker.execute_command("ACL", "SETUSER", name, "reset", "on", ">pass", *words)
        host = redis_url.rpartition("@")[2]
        urls[name.removeprefix("labelmill-")] = f"redis://{name}:pass@{host}"
    broker.acl_log_reset()
    try:
        flows(workers, urls, tmp_path)
        wait_until_nothing_is_left(broker)
        refused = broker.acl_log()
    finally:
        workers.stop()
        for name in rules(queues):
            broker.acl_deluser(name)
    # redis-py names itself to the server where it may.
    denied = [each for each in refused if "client|setinfo" not in str(each["object"])]
    assert denied == []


def flows(workers: Workers, urls: dict[str, str], tmp_path: Path) -> None:
    """What each of the users is for."""
    workers.configure(lease_seconds="0.6", max_attempts="1", reconcile_every="0.5")
    workers.broker_url, workers.producers_url = urls["worker"], urls["operator"]
    (gateways := tmp_path / "gateway").mkdir()
    beat_folder = ("-s", str(tmp_path / "beat"))
    worker = workers.start()
    with (
        Client(urls["producer"], workers.database_url) as client,
        serving(
            settings_for(
                gateways,
                urls["operator"],
                workers.database_url,
                rate_limit="9/second",
                rate_limit_storage="redis",
            )
        ) as gateway,
    ):
        reader = ConsumerGroup(urls["webhook"], "readers")
        reader.join()
        ids = client.submit_many("scripted", [NewJob(text=f"{n}") for n in range(20)]).ids
        with celery.Celery("shop", broker=urls["sender"]) as shop:
            shop.send_task(
                TASK_NAME, [], {"text": "bare", "id": "bare"}, task_id="bare", queue="scripted"
            )
        rows_of(client, [*ids, "bare"])
        entries = wait_for(lambda: reader.take(1000))
        reader.keep(entries)
        reader.give_up(entries[0][1], "tried")
        assert reader.given_up()
        reader.acknowledge(entries)
        reader.close()
        for path in ("/v1/health", "/v1/models", "/v1/dead", "/v1/jobs/bare"):
            assert gateway.get(path).status_code == 200, path
        assert gateway.post("/v1/jobs", json={"model": "texts", "text": "x"}).is_success
        # A job whose worker dies is a dead letter, and is replayed.
        poison = client.submit_text("scripted", "kill")
        worker.process.wait()
        second = workers.start()
        assert client.wait(poison).error_code == "poisoned"
        workers.broker_url = urls["operator"]
        (tmp_path / "lines.txt").write_text("one\ntwo\n")
        for words in (
            ("status",),
            ("health", "--name", second.name),
            ("dead", "list"),
            ("reconcile", "--grace", "0.001"),
            ("submit", "scripted", str(tmp_path / "lines.txt"), "--wait"),
        ):
            ended = workers.run(*words)
            assert ended.returncode == 0, ended.stderr
        workers.broker_url = urls["worker"]
        inspected = workers.run("-A", "labelmill.worker", "inspect", "ping", module="celery")
        assert f"{second.name}: OK" in inspected.stdout, inspected.stderr
        beat = workers.start(
            sys.executable,
            "-m",
            "celery",
            "-A",
            "labelmill.worker",
            "beat",
            *beat_folder,
            wait=False,
        )
        wait_for(lambda: "looked at" in second.text())
        beat.kill()
        second.terminate()


def test_a_name_that_does_not_resolve_for_a_while(
    workers: Workers, redis_url: str, tmp_path: Path
) -> None:
    """By a resolver that says so while a file is there; a name is asked for at each connection."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, socket\n"
        "resolve = socket.getaddrinfo\n"
        "def getaddrinfo(host, *arguments, **options):\n"
        "    if host == 'redis.test':\n"
        f"        if os.path.exists({str(tmp_path / 'gone')!r}):\n"
        "            raise socket.gaierror(socket.EAI_AGAIN, 'Temporary failure')\n"
        "        host = '127.0.0.1'\n"
        "    return resolve(host, *arguments, **options)\n"
        "socket.getaddrinfo = getaddrinfo\n"
    )
    workers.producers_url = redis_url
    workers.broker_url = redis_url.replace("127.0.0.1", "redis.test")
    path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    worker = workers.start(
        "env", f"PYTHONPATH={path}", sys.executable, "-m", "labelmill", "worker", "--name", "%n"
    )
    with workers.client() as client, workers.broker() as broker:
        (tmp_path / "gone").touch()
        broker.client_kill_filter(_type="normal", skipme=True)
        broker.client_kill_filter(_type="pubsub")
        wait_for(lambda: "Temporary failure" in worker.text())
        (tmp_path / "gone").unlink()
        rows_of(client, [client.submit_text("scripted", "resolved")])
        wait_for(lambda: answers_remote_control(workers, worker))
        wait_until_nothing_is_left(broker)
    assert worker.process.poll() is None
    assert worker.text().count("Redis does not answer") <= 2
