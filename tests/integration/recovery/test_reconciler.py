"""The reconciler on a real Redis and real databases: it sends what is lost, and nothing else."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from labelmill.broker import message
from labelmill.broker.inspect import QueueInspector
from labelmill.broker.leases import Leases
from labelmill.broker.publisher import Publisher
from labelmill.broker.queues import QueueKeys
from labelmill.cli.main import app
from labelmill.client import NewJob
from labelmill.core.errors import BrokerUnavailable
from labelmill.core.job import SubmittedJob
from labelmill.core.result import Result
from labelmill.core.states import Status
from labelmill.db.database import Database
from labelmill.db.jobs import Lane
from labelmill.local.redis import RedisServer
from labelmill.recovery import reconciler as module
from labelmill.recovery.reconciler import Reconciler, Swept, reconciling
from tests.support import rows
from tests.support.waiting import wait_for
from tests.support.worker import Workers

GRACE = 60.0
HOUR = timedelta(hours=1)
NOW = datetime.now(UTC)  # when this module was read


@pytest.fixture
def publisher(redis_url: str) -> Iterator[Publisher]:
    with closing(Publisher(redis_url)) as publisher:
        yield publisher


@pytest.fixture
def reconciler(redis_url: str, database_url: str) -> Iterator[Reconciler]:
    with reconciling(redis_url, database_url, GRACE) as reconciler:
        yield reconciler


def a_job(job_id: str, age: timedelta = HOUR, **changes: Any) -> SubmittedJob:
    usual = {
        "model": "q",
        "payload": {"text": job_id},
        "enqueued_at": datetime.now(UTC) - age,  # not NOW: the tests before may take minutes
    }
    return rows.a_job(job_id, **usual | changes)


def a_result(job_id: str) -> Result:
    return rows.a_result(job_id, model="q")


def publish(publisher: Publisher, job: SubmittedJob) -> None:
    """Send a job as the client does when it enqueues it."""
    publisher.publish([job._replace(sent_at=job.enqueued_at)])


def waiting(broker: redis.Redis, queue: str = "q") -> list[str]:
    """The ids in all lists of a queue, the oldest first."""
    return [
        message.decode(raw).id
        for name in QueueKeys(queue).lists
        for raw in reversed(broker.lrange(name, 0, -1))
    ]


def test_a_lost_job_is_sent_again_once(
    reconciler: Reconciler, database: Database, broker: redis.Redis
) -> None:
    row = a_job("lost", priority=4, run_id="r", payload={"text": "x", "run": "r"})
    database.jobs.add([row])
    assert reconciler.sweep() == Swept(looked_at=1, sent=1)
    [raw] = broker.lrange(QueueKeys("q").list_name(4), 0, -1)
    sent = message.decode(raw)
    assert sent.job is not None
    assert (sent.id, sent.job.text, sent.job.run) == ("lost", "x", "r")
    assert sent.enqueued_at == row.enqueued_at
    sent_at = datetime.fromisoformat(json.loads(raw)["headers"]["sent_at"])
    [entry] = database.jobs.page(Lane("q", 4), None, datetime.max.replace(tzinfo=UTC), 9)
    assert entry.due_at == sent_at >= NOW
    assert reconciler.sweep() == Swept(looked_at=0, sent=0)


def test_what_is_young_or_has_its_row_is_left_alone(
    reconciler: Reconciler, database: Database, broker: redis.Redis
) -> None:
    database.jobs.add([a_job("young", timedelta(seconds=GRACE / 2)), a_job("done")])
    database.results.write([a_result("done")])
    assert reconciler.sweep() == Swept(looked_at=1, sent=0)
    assert waiting(broker) == []


def test_a_backlog_that_waits_is_not_sent_again(
    reconciler: Reconciler, database: Database, broker: redis.Redis, publisher: Publisher
) -> None:
    backlog = [a_job(f"b{n}", HOUR - timedelta(minutes=n)) for n in range(50)]
    lost = a_job("lost", 2 * HOUR)
    database.jobs.add([*backlog, lost])
    for row in backlog:
        publish(publisher, row)
    assert reconciler.sweep() == Swept(looked_at=1, sent=1)
    assert waiting(broker) == [*(row.id for row in backlog), "lost"]
    assert reconciler.sweep().sent == 0


def test_each_priority_has_a_list_of_its_own(
    reconciler: Reconciler, database: Database, broker: redis.Redis, publisher: Publisher
) -> None:
    waits, lost = a_job("waits", priority=9), a_job("lost", priority=1)
    other = a_job("other", model="p")
    database.jobs.add([waits, lost, other])
    publish(publisher, waits)
    assert reconciler.sweep().sent == 2
    assert waiting(broker) == ["lost", "waits"]
    assert waiting(broker, "p") == ["other"]


def test_strangers_messages_are_looked_past(
    reconciler: Reconciler, database: Database, broker: redis.Redis, publisher: Publisher
) -> None:
    row = a_job("waits")
    database.jobs.add([row])
    # A bare send_task, and what is no message at all.
    broker.lpush("q", b'{"headers": {"id": "bare"}}', b"\xff")
    publish(publisher, row)
    assert reconciler.sweep().sent == 0
    # So many that it does not look past them: nothing is known then, and nothing is sent.
    broker.rpush("q", *[b"stranger"] * 1000)
    database.jobs.add([a_job("lost", HOUR + timedelta(minutes=2))])
    assert reconciler.sweep() == Swept(looked_at=0, sent=0)
    broker.ltrim("q", 0, -1001)
    assert reconciler.sweep().sent == 1


def test_leased_jobs_are_not_sent_again(
    reconciler: Reconciler, database: Database, broker: redis.Redis, publisher: Publisher
) -> None:
    # The id in the message as JSON has it, and a body longer than what is read of it.
    rows = [a_job('a "quoted\\" id'), a_job("long", payload={"text": "x" * 50_000})]
    database.jobs.add(rows)
    for row in rows:
        publish(publisher, row)
    leases = Leases(broker, 30.0)
    taken = leases.take("q", 10, claim=True).leases
    assert len(taken) == 2
    assert reconciler.sweep() == Swept(looked_at=2, sent=0)
    leases.release("q", taken)
    assert reconciler.sweep().sent == 0
    leases.ack("q", leases.take("q", 10, claim=True).leases)
    assert reconciler.sweep() == Swept(looked_at=2, sent=2)


def test_delayed_jobs_are_missed_from_their_eta_on(
    reconciler: Reconciler, database: Database, broker: redis.Redis, publisher: Publisher
) -> None:
    eta = NOW - HOUR / 2
    row = a_job("delayed", eta=eta)
    database.jobs.add([row, a_job("later", eta=NOW + HOUR), a_job("lost", eta=eta)])
    publish(publisher, row)
    leases = Leases(broker, 30.0)
    [lease] = leases.take("q", 1, claim=True).leases
    leases.delay(lease, eta)
    assert reconciler.sweep() == Swept(looked_at=2, sent=1)
    assert waiting(broker) == ["lost"]


def test_an_expired_job_is_sent_so_that_it_gets_its_row(
    reconciler: Reconciler, database: Database, broker: redis.Redis
) -> None:
    database.jobs.add([a_job("expired", expires_at=NOW - HOUR / 2)])
    assert reconciler.sweep().sent == 1
    assert message.decode(broker.lindex("q", 0)).expires == NOW - HOUR / 2


def test_two_reconcilers_send_each_lost_job_once(
    redis_url: str, database_url: str, database: Database, broker: redis.Redis
) -> None:
    ids = [f"lost-{n:03}" for n in range(500)]
    database.jobs.add([a_job(each) for each in ids])
    together = threading.Barrier(3)

    def sweep(_: int) -> int:
        with reconciling(redis_url, database_url, GRACE) as reconciler:
            together.wait(30)
            return reconciler.sweep().sent

    with ThreadPoolExecutor(3) as pool:
        sent = list(pool.map(sweep, range(3)))
    assert sum(sent) == 500
    assert sorted(waiting(broker)) == ids


def test_many_pages(
    reconciler: Reconciler, database: Database, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAGE", 10)
    monkeypatch.setattr(module, "_SENT_TOGETHER", 3)
    # Some of equal times: the id decides which page they are on.
    database.jobs.add([a_job(f"j{n:02}", HOUR - timedelta(seconds=n // 7)) for n in range(35)])
    database.results.write([a_result(f"j{n:02}") for n in range(0, 35, 2)])
    assert reconciler.sweep() == Swept(looked_at=35, sent=17)
    assert waiting(broker) == [f"j{n:02}" for n in range(1, 35, 2)]


def test_a_claimed_job_that_was_not_sent_is_lost_again_after_the_grace(
    redis_url: str,
    database_url: str,
    database: Database,
    broker: redis.Redis,
    reconciler: Reconciler,
) -> None:
    database.jobs.add([a_job("lost")])
    with closing(Publisher("redis://127.0.0.1:1/0")) as nowhere:
        dying = Reconciler(broker, nowhere, database.jobs, GRACE)
        with pytest.raises(BrokerUnavailable):
            dying.sweep()
    assert reconciler.sweep().sent == 0
    with reconciling(redis_url, database_url, 0.05) as impatient:
        wait_for(lambda: impatient.sweep().sent == 1)
    assert waiting(broker) == ["lost"]


def test_what_is_finished_is_not_looked_at_again(
    reconciler: Reconciler, database: Database, broker: redis.Redis, publisher: Publisher
) -> None:
    held = a_job("held", HOUR - timedelta(seconds=1))
    recent = a_job("recent", timedelta(minutes=3))
    database.jobs.add([*(a_job(f"{n}") for n in range(50)), held, recent])
    database.results.write([a_result(f"{n}") for n in range(50)] + [a_result("recent")])
    publish(publisher, held)
    leases = Leases(broker, 30.0).take("q", 1, claim=True).leases
    assert reconciler.sweep().looked_at == 52
    # The one that is leased, and all after it.
    assert reconciler.sweep().looked_at == 2
    database.results.write([a_result("held")])
    Leases(broker, 30.0).ack("q", leases)
    assert reconciler.sweep().looked_at == 2
    # What is recent may yet be joined by jobs of transactions that are committed late.
    assert reconciler.sweep().looked_at == 1
    assert 0 < broker.ttl("labelmill:reconciler:marks") <= 3600
    broker.flushall()
    assert reconciler.sweep().looked_at == 52


@pytest.mark.parametrize("loss", ["flushall", "restart"])
def test_jobs_that_redis_lost_have_one_row_each(
    database_url: str, tmp_path: Path, loss: str
) -> None:
    with RedisServer() as server:
        workers = Workers(server.url, database_url, tmp_path)
        workers.configure()
        workers.start()
        broker = redis.Redis.from_url(server.url)
        try:
            with broker, workers.client() as client:
                # The first keeps the device until Redis is empty.
                jobs = [f"hold {tmp_path / 'go'}", *(f"t{n}" for n in range(499))]
                ids = client.submit_many("scripted", [NewJob(text=each) for each in jobs]).ids
                wait_for((tmp_path / "go.started").exists)
                if loss == "flushall":
                    broker.flushall()
                else:
                    server.kill()
                    server.start()
                (tmp_path / "go").touch()
                database = client._database

                def all_have_rows() -> bool:
                    with reconciling(server.url, database_url, 0.5) as reconciler:
                        reconciler.sweep()
                    return len(database.results.get_many(ids)) == 500

                wait_for(all_have_rows)
                wait_for(lambda: is_idle(broker))
                assert database.results.counts()["scripted"].succeeded == 500
                assert {row.label for row in database.results.get_many(ids).values()} == set(jobs)
        finally:
            workers.stop()


def is_idle(broker: redis.Redis) -> bool:
    depth = QueueInspector(broker).depths(["scripted"])["scripted"]
    return depth["waiting"] == depth["leased"] == 0


def test_beat_and_a_worker_send_lost_jobs_again(workers: Workers) -> None:
    workers.configure(reconcile_every="0.5", reconcile_grace="0.5")
    with Database.open(workers.database_url) as database:
        database.jobs.add([a_job("lost", model="scripted")])
        workers.start()
        schedule = str(workers.folder / "schedule")
        celery = (sys.executable, "-m", "celery", "-A", "labelmill.worker")
        workers.start(*celery, "beat", "--schedule", schedule, wait=False)
        assert wait_for(lambda: database.results.get("lost")).status is Status.SUCCEEDED


def test_the_command_tells_what_it_did(
    redis_url: str, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABELMILL_BROKER_URL", redis_url)
    monkeypatch.setenv("LABELMILL_DATABASE_URL", sqlite_url)
    with Database.open(sqlite_url) as database:
        database.jobs.add([a_job("lost")])
    done = CliRunner().invoke(app, ["reconcile", "--json"])
    assert json.loads(done.stdout) == {"looked_at": 1, "sent": 1}
    assert CliRunner().invoke(app, ["reconcile"]).stdout == "looked at 0 jobs, sent 0 again\n"
