"""What happens when processes are killed: no job is lost and none has two rows."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import redis

from labelmill.broker.inspect import QueueInspector
from labelmill.broker.leases import Leases
from labelmill.broker.queues import QueueKeys
from labelmill.client import NewJob
from labelmill.local.redis import RedisServer
from tests.support.waiting import wait_for
from tests.support.worker import Workers

LEASE_SECONDS = 2.0


def test_a_killed_workers_jobs_come_back_within_two_leases(
    workers_on_each: Workers, tmp_path: Path
) -> None:
    workers = workers_on_each
    workers.configure(lease_seconds=str(LEASE_SECONDS))
    victim = workers.start()
    with workers.client() as client:
        held = client.submit_text("scripted", f"hold {tmp_path / 'go'}")
        wait_for((tmp_path / "go.started").exists)
        others = client.submit_many("scripted", [NewJob(text=f"t{i}") for i in range(300)]).ids
        # One group on the device, one prepared, the rest in the list.
        wait_for(lambda: leased(workers) == 129)
        victim.kill()
        (tmp_path / "go").touch()
        workers.start()
        rows = [client.wait(job_id, timeout=2 * LEASE_SECONDS + 30) for job_id in [held, *others]]
        assert {row.status for row in rows} == {"succeeded"}
        assert {row.worker for row in rows} == {"w2@test"}
        assert {row.attempt for row in rows} == {1, 2}
        # What came back ran alone: any of it might have been what killed the worker.
        assert {row.group_size for row in rows if row.attempt == 2} == {1}
        assert client._database.results.counts()["scripted"].succeeded == 301
    wait_for(lambda: leased(workers) == 0)


def test_a_job_that_kills_its_worker_takes_nobody_along_twice(workers: Workers) -> None:
    workers.configure(lease_seconds="0.5", max_attempts="2")
    with workers.client() as client:
        jobs = [NewJob(text="kill" if i == 7 else f"t{i}") for i in range(20)]
        ids = client.submit_many("scripted", jobs).ids
        # A supervisor that starts the worker again whenever it dies.
        supervised = workers.start(wait=False)

        def settled() -> bool:
            nonlocal supervised
            if supervised.process.poll() is not None:
                supervised = workers.start(wait=False)
            return len(client._database.results.get_many(ids)) == len(ids)

        wait_for(settled)
        rows = client._database.results.get_many(ids)
    poisoned = [row for row in rows.values() if row.status == "failed"]
    assert [(row.id, row.error_code) for row in poisoned] == [(ids[7], "poisoned")]
    assert max(row.attempt for row in rows.values() if row.status == "succeeded") == 2
    with redis.Redis.from_url(workers.broker_url) as broker:
        assert wait_for(lambda: broker.llen(QueueKeys("scripted").dead)) == 1


def test_a_worker_that_loses_a_stage_ends_with_a_failure(workers: Workers) -> None:
    worker = workers.start()
    with workers.client() as client:
        client.submit_text("scripted", "die")
        assert worker.process.wait() == 1
    assert "the forward stage died" in worker.text()


def test_a_job_that_ends_a_stage_is_poisoned_in_the_end(workers: Workers) -> None:
    workers.configure(lease_seconds="0.5", max_attempts="2")
    with workers.client() as client:
        ids = [client.submit_text("scripted", text) for text in ("die", "innocent")]
        supervised = workers.start(wait=False)

        def settled() -> bool:
            nonlocal supervised
            if supervised.process.poll() is not None:
                supervised = workers.start(wait=False)
            return len(client._database.results.get_many(ids)) == 2

        wait_for(settled)
        died, innocent = (client.wait(job_id) for job_id in ids)
    assert (died.error_code, innocent.status) == ("poisoned", "succeeded")


def test_jobs_sent_to_a_redis_that_lost_its_data_are_not_mistaken_for_old_ones(
    workers: Workers, tmp_path: Path
) -> None:
    with RedisServer() as server:
        workers.broker_url = server.url
        workers.start()
        with workers.client() as client:
            held = client.submit_text("scripted", f"hold {tmp_path / 'go'}")
            wait_for((tmp_path / "go.started").exists)
            server.restart()
            new = [client.submit_text("scripted", f"t{i}") for i in range(5)]
            wait_for(lambda: leased(workers) == 5)
            (tmp_path / "go").touch()
            assert [client.wait(job_id).label for job_id in new] == [f"t{i}" for i in range(5)]
            assert client.wait(held).status == "succeeded"


def test_an_expired_lease_is_claimed_beside_busy_models(workers: Workers) -> None:
    table = '[models.{}]\ntask = "text-classification"\ncheckpoint = "."\n' + (
        'engine = "tests.support.engines:ScriptedEngine"\ngroup_size = 4\n'
    )
    workers.configure("".join(table.format(name) for name in "abc"), lease_seconds="1")
    with redis.Redis.from_url(workers.broker_url) as broker, workers.client() as client:
        old = client.submit_text("a", "old")
        Leases(broker, duration=0.001).take("a", 1, claim=True)
        for model in "bc":
            client.submit_many(model, [NewJob(text=f"pause {i}") for i in range(2000)])
        workers.start()
        row = client.wait(old)
        assert (row.status, row.attempt) == ("succeeded", 2)
        assert client._database.results.counts()["b"].succeeded < 2000


def test_a_full_redis_still_renews_releases_and_acknowledges() -> None:
    with RedisServer() as server, redis.Redis.from_url(server.url) as broker:
        leases = Leases(broker, duration=30)
        broker.lpush("q", "a", "b")
        first = leases.take("q", 1, claim=True).leases
        broker.config_set("maxmemory", "1mb")
        assert leases.renew("q", first) == set()
        second = leases.take("q", 1, claim=False).leases
        assert leases.release("q", second) == 1
        assert leases.ack("q", first) == set()


def test_sigquit_leaves_at_once_and_loses_nothing(workers: Workers, tmp_path: Path) -> None:
    workers.configure(lease_seconds=str(LEASE_SECONDS))
    worker = workers.start()
    with workers.client() as client:
        held = client.submit_text("scripted", f"hold {tmp_path / 'go'}")
        wait_for((tmp_path / "go.started").exists)
        os.kill(worker.pid, signal.SIGQUIT)
        worker.process.wait()  # the device is held: only the signal ends it
        (tmp_path / "go").touch()
        workers.start()
        assert client.wait(held).status == "succeeded"


def test_redis_comes_back_after_a_restart(workers: Workers, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server:
        workers.broker_url = server.url
        worker = workers.start()
        with workers.client() as client:
            client.wait(client.submit_text("scripted", "before"))
            server.restart()
            after = client.submit_text("scripted", "after")
            assert client.wait(after).label == "after"
        assert worker.process.poll() is None


def test_the_database_is_waited_for_and_nothing_is_run_twice(
    postgresql_url: str, redis_url: str, tmp_path: Path
) -> None:
    """A lock on the table keeps the commit waiting, as a database that is away would."""
    import psycopg

    workers = Workers(redis_url, postgresql_url, tmp_path)
    workers.configure(lease_seconds="1")
    try:
        workers.start()
        with workers.client() as client:
            address = postgresql_url.replace("postgresql+psycopg", "postgresql")
            with psycopg.connect(address) as lock:
                lock.execute("LOCK TABLE results IN ACCESS EXCLUSIVE MODE")
                ids = client.submit_many("scripted", [NewJob(text=f"t{i}") for i in range(50)]).ids
                with redis.Redis.from_url(redis_url) as broker:
                    wait_for(lambda: leased(workers) == 50)
                    first = broker.zrange(QueueKeys("scripted").deadlines, 0, 0, withscores=True)
                    # Three leases long: they are renewed all the while.
                    wait_for(
                        lambda: (
                            broker.zrange(QueueKeys("scripted").deadlines, 0, 0, withscores=True)[
                                0
                            ][1]
                            > first[0][1] + 3000
                        )
                    )
            rows = [client.wait(job_id) for job_id in ids]
            assert {row.attempt for row in rows} == {1}
    finally:
        workers.stop()


def leased(workers: Workers) -> int:
    with redis.Redis.from_url(workers.broker_url) as broker:
        return QueueInspector(broker).depths(["scripted"])["scripted"]["leased"]
