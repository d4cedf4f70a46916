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
MOST_WAITING = 100_000
HOUR = timedelta(hours=1)
NOW = datetime.now(UTC)  # when this module was read


@pytest.fixture
def publisher(redis_url: str) -> Iterator[Publisher]:
    with closing(Publisher(redis_url)) as publisher:
        yield publisher


@pytest.fixture
def reconciler(redis_url: str, database_url: str) -> Iterator[Reconciler]:
    with reconciling(redis_url, database_url, GRACE, MOST_WAITING) as reconciler:
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
    assert reconciler.sweep().sent == 1
    assert waiting(broker) == [*(row.id for row in backlog), "lost"]
    assert reconciler.sweep().sent == 0


SECONDS = {"ahead by ten minutes": 600, "behind by ten minutes": -600, "of another century": 3e9}


@pytest.mark.parametrize("seconds", SECONDS.values(), ids=SECONDS)
def test_a_wrong_clock_has_nothing_sent_twice(
    reconciler: Reconciler,
    database: Database,
    broker: redis.Redis,
    publisher: Publisher,
    seconds: float,
) -> None:
    shift = timedelta(seconds=min(seconds, 2e9))
    strange = [a_job(f"s{n}", -shift) for n in range(200)]
    backlog = [a_job(f"b{n}") for n in range(200)]
    database.jobs.add([*strange, *backlog, a_job("lost", HOUR)])
    for row in (*strange, *backlog):
        publish(publisher, row)
    before = waiting(broker)
    assert [reconciler.sweep().sent for _ in range(3)] == [1, 0, 0]
    assert waiting(broker) == [*before, "lost"]


def test_a_bare_message_of_2099_has_nothing_sent_twice(
    reconciler: Reconciler, database: Database, broker: redis.Redis, publisher: Publisher
) -> None:
    backlog = [a_job(f"b{n}") for n in range(500)]
    database.jobs.add(backlog)
    bare = b'{"headers": {"enqueued_at": "2099-01-01T00:00:00+00:00"}}'
    broker.lpush("q", *[bare] * 200)
    for row in backlog:
        publish(publisher, row)
    assert [reconciler.sweep().sent for _ in range(3)] == [0, 0, 0]
    assert broker.llen("q") == 700


@pytest.mark.parametrize("year", ["0001", "1970", "9999"])
def test_a_time_that_nobody_can_reckon_with_hides_nothing(
    reconciler: Reconciler, database: Database, broker: redis.Redis, year: str
) -> None:
    bare = b'{"headers": {"enqueued_at": "%b-01-01T00:00:00+00:00"}}' % year.encode()
    broker.lpush("a", bare)
    database.jobs.add([a_job("in a", model="a"), a_job("in q")])
    assert reconciler.sweep().sent == 2


def test_a_servers_clock_that_is_ahead_has_nothing_sent_twice(
    database: Database, broker: redis.Redis, redis_url: str, database_url: str
) -> None:
    """To such a server all that was just sent is an hour old."""
    with closing(Publisher(redis_url)) as publisher:
        rows = [a_job(f"b{n:02}", HOUR - timedelta(seconds=20 * n)) for n in range(100)]
        database.jobs.add(rows)
        for row in rows:
            publish(publisher, row)
    taken = Leases(broker, 30.0).take("q", 40, claim=True).leases
    with reconciling(redis_url, database_url, GRACE, MOST_WAITING) as reconciler:
        swept = reconciler.sweep()
    assert swept.looked_at > 40
    assert swept.sent == 0
    assert len(taken) + broker.llen("q") == 100


def test_dead_letters_are_not_sent_again(
    reconciler: Reconciler, database: Database, broker: redis.Redis, publisher: Publisher
) -> None:
    """Not even those whose rows somebody has removed."""
    row = a_job("dead")
    database.jobs.add([row])
    publish(publisher, row)
    leases = Leases(broker, 30.0)
    leases.bury("q", leases.take("q", 1, claim=True).leases)
    assert reconciler.sweep() == Swept(looked_at=1, sent=0)


def test_no_more_are_sent_than_may_wait(
    redis_url: str, database_url: str, database: Database, broker: redis.Redis
) -> None:
    database.jobs.add([a_job(f"lost{n:02}", HOUR - timedelta(seconds=n)) for n in range(50)])
    with reconciling(redis_url, database_url, GRACE, most_waiting=20) as reconciler:
        assert reconciler.sweep().sent == 20
        assert reconciler.sweep().sent == 0
        broker.delete("q")  # they were taken, say, and have no row yet: not missed for a minute
        assert reconciler.sweep().sent == 20
        broker.delete("q")
        assert reconciler.sweep().sent == 10
        assert reconciler.sweep().sent == 0


def test_more_than_one_sweep_can_look_for(
    reconciler: Reconciler,
    database: Database,
    broker: redis.Redis,
    publisher: Publisher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A backlog that a wrong clock lets seem lost hides no job that is."""
    monkeypatch.setattr(module, "_PAGE", 10)
    monkeypatch.setattr(module, "_MOST_MISSED", 20)
    backlog = [a_job(f"b{n:02}", HOUR - timedelta(seconds=n)) for n in range(55)]
    database.jobs.add([*backlog, a_job("lost", timedelta(minutes=5))])
    ahead = [a_job(f"s{n:03}", -HOUR) for n in range(200)]
    for row in (*ahead, *backlog):
        publish(publisher, row)
    swept = [reconciler.sweep() for _ in range(6)]
    assert [each.looked_at for each in swept] == [20, 20, 16, 20, 20, 15]
    assert [each.sent for each in swept] == [0, 0, 1, 0, 0, 0]


def test_a_queue_that_redis_refuses_holds_up_no_other(
    reconciler: Reconciler, database: Database, broker: redis.Redis
) -> None:
    broker.set("a", "another application's")
    database.jobs.add([a_job("in a", model="a"), a_job("in q")])
    assert reconciler.sweep().sent == 1
    assert waiting(broker) == ["in q"]


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
    # So many that nobody says when it was sent: all that is missed is looked for.
    broker.rpush("q", *[b"stranger"] * 1000)
    database.jobs.add([a_job("lost", HOUR + timedelta(minutes=2))])
    assert reconciler.sweep() == Swept(looked_at=2, sent=1)


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
        with reconciling(redis_url, database_url, GRACE, MOST_WAITING) as reconciler:
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
        dying = Reconciler(broker, nowhere, database.jobs, GRACE, MOST_WAITING)
        with pytest.raises(BrokerUnavailable):
            dying.sweep()
    assert reconciler.sweep().sent == 0
    with reconciling(redis_url, database_url, 0.05, MOST_WAITING) as impatient:
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
                    with reconciling(server.url, database_url, 0.5, MOST_WAITING) as reconciler:
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
