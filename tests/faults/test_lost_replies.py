"""Replies of Redis that are lost: nothing is done twice, and nothing is held against a job."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

from labelmill.broker.leases import Leases, leases
from labelmill.broker.queues import QueueKeys
from labelmill.client import NewJob
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
from tests.support.worker import SCRIPTED_MODELS, Workers

SCRIPTS = ("take", "start", "renew", "ack")


def digest(script: str) -> bytes:
    """By what a call of a script is known on the wire."""
    text = Path(leases.__file__).with_name(f"{script}.lua").read_bytes()
    if script == "start":
        return text.partition(b"\n")[0]  # it is sent whole
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


def test_no_lost_reply_is_held_against_a_job(workers: Workers, proxy: Proxy) -> None:
    """With one attempt for each job, any that counted for nothing would poison it."""
    workers.configure(SCRIPTED_MODELS + "group_size = 4\n", lease_seconds="6", max_attempts="1")
    worker = workers.start()
    with workers.client() as client, workers.broker() as broker:
        freeze_results(database_of(client))
        client.wait(client.submit_text("scripted", "before"))
        ids: list[str] = []
        for script in SCRIPTS:
            for lose in (proxy.lose, proxy.eat):
                wanted = proxy.losses + 1
                lose(digest(script))
                while proxy.losses < wanted:
                    new = [NewJob(text=f"pause {script} {len(ids)} {i}") for i in range(20)]
                    ids += client.submit_many("scripted", new).ids
                    wait_for(
                        lambda: proxy.losses >= wanted or depth(broker)["waiting"] == 0  # noqa: B023
                    )
        rows = database_of(client).results
        wait_for(lambda: len(rows.get_many(ids)) == len(ids))
        wait_until_nothing_is_left(broker)
        found = rows.get_many(ids).values()
    assert {(row.status, row.attempt) for row in found} == {("succeeded", 1)}
    assert worker.process.poll() is None


def test_jobs_that_nobody_began_come_back_uncounted_and_together(
    workers: Workers,
) -> None:
    """A worker dies before it has the reply: the next one has the group as if it were new."""
    workers.configure(SCRIPTED_MODELS + "group_size = 16\n", lease_seconds="1", max_attempts="1")
    with workers.client() as client, workers.broker() as broker:
        ids = client.submit_many("scripted", [NewJob(text=f"t{i}") for i in range(16)]).ids
        dying = Leases(broker, duration=0.5)
        handed_out = dying._hand_out("scripted", 16, 1, claim=True)
        assert len(handed_out.leases) == 16
        workers.start()
        rows = rows_of(client, ids)
        wait_until_nothing_is_left(broker)
    assert {(row.status, row.attempt) for row in rows} == {("succeeded", 1)}
    assert {row.group_size for row in rows} == {16}


def test_an_attempt_that_its_worker_outlived_does_not_count(
    workers: Workers, tmp_path: Path
) -> None:
    """One is stopped and goes on, another one is killed with the same job in hand: one death."""
    workers.configure(SCRIPTED_MODELS + "group_size = 4\n", lease_seconds="1", max_attempts="2")
    stopped = workers.start()
    with workers.client() as client, workers.broker() as broker:
        held = client.submit_text("scripted", f"hold {tmp_path / 'go'}")
        wait_for((tmp_path / "go.started").exists)
        (tmp_path / "go.started").unlink()
        killed = workers.start()
        os.kill(stopped.pid, signal.SIGSTOP)
        wait_for((tmp_path / "go.started").exists)
        os.kill(stopped.pid, signal.SIGCONT)
        wait_for(lambda: broker.exists(QueueKeys("scripted").excused))
        killed.kill()
        wait_for(lambda: broker.hvals(QueueKeys("scripted").attempts) == [b"3"])
        (tmp_path / "go").touch()
        assert client.wait(held).status == "succeeded"
        wait_until_nothing_is_left(broker)


def test_a_redis_that_stands_still_takes_nobody_for_dead(workers: Workers, tmp_path: Path) -> None:
    """Two workers with jobs in hand, one attempt for each, and a server that stalls for leases."""
    with RedisServer() as server:
        workers.broker_url = server.url
        workers.configure(SCRIPTED_MODELS + "group_size = 4\n", lease_seconds="1", max_attempts="1")
        started = [workers.start(wait=False) for _ in range(2)]
        for each in started:
            workers.wait_ready(each)
        with workers.client() as client, workers.broker() as broker:
            held = client.submit_text("scripted", f"hold {tmp_path / 'go'}")
            wait_for((tmp_path / "go.started").exists)
            jobs = [NewJob(text=f"pause {i}") for i in range(200)]
            ids = [held, *client.submit_many("scripted", jobs).ids]
            # Both have some in hand, one of them on its device.
            wait_for(lambda: len(database_of(client).results.get_many(ids)) > 20)
            os.kill(server.pid, signal.SIGSTOP)
            began = os.times().elapsed
            wait_for(lambda: os.times().elapsed > began + 3)
            os.kill(server.pid, signal.SIGCONT)
            (tmp_path / "go").touch()
            rows = rows_of(client, ids)
            wait_until_nothing_is_left(broker)
        workers.stop()
    assert {(row.status, row.attempt) for row in rows} == {("succeeded", 1)}
