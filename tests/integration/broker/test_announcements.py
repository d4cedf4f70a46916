"""The stream of events, from the worker's acknowledgement to a reader, on a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis

from labelmill.broker.announcements import STREAM, AnnouncementStream, JobFinished
from labelmill.broker.leases import Leases
from labelmill.broker.queues import QueueKeys
from labelmill.client import NewJob
from labelmill.local.redis import RedisServer
from tests.support.counting import wait_until_nothing_is_left
from tests.support.rows import newest_results
from tests.support.waiting import wait_for
from tests.support.worker import Workers


@pytest.fixture
def announcements(redis_url: str) -> Iterator[AnnouncementStream]:
    with AnnouncementStream(redis_url) as announcements:
        yield announcements


def announced(job_id: str) -> JobFinished:
    return {
        "id": job_id,
        "model": "q",
        "run": None,
        "status": "succeeded",
        "label": "fine",
        "score": 1.0,
        "error_code": None,
    }


def finish(broker: redis.Redis, leases: Leases, *ids: str) -> None:
    """Have these jobs taken, acknowledged and announced as one group."""
    broker.lpush("q", *ids)
    taken = leases.take("q", len(ids), claim=True).leases
    leases.ack("q", taken, [announced(each) for each in ids])


def ids_of(entries: list[tuple[str, list[JobFinished]]]) -> list[list[str]]:
    return [[each["id"] for each in group] for _, group in entries]


def test_a_group_is_one_entry(broker: redis.Redis, announcements: AnnouncementStream) -> None:
    leases = Leases(broker, 30, entries_kept=100)
    finish(broker, leases, "a", "b")
    finish(broker, leases, "c")
    entries = announcements.read("0", 0)
    assert ids_of(entries) == [["a", "b"], ["c"]]
    assert entries[0][1][0] == announced("a")
    assert announcements.read(entries[0][0], 0) == entries[1:]
    assert (announcements.oldest(), announcements.newest()) == (entries[0][0], entries[1][0])


def test_a_reader_waits_for_what_comes(
    broker: redis.Redis, announcements: AnnouncementStream
) -> None:
    after = announcements.newest()
    assert announcements.oldest() is None
    assert announcements.read(after, 1) == []
    finish(broker, Leases(broker, 30, entries_kept=100), "a")
    assert ids_of(announcements.read(after, 30_000)) == [["a"]]


def test_the_stream_is_bounded(broker: redis.Redis) -> None:
    leases = Leases(broker, 30, entries_kept=10)
    for number in range(300):
        finish(broker, leases, str(number))
    # Redis removes whole nodes of a hundred entries.
    assert 10 <= broker.xlen(STREAM) <= 110


def test_nothing_is_announced_where_it_is_turned_off(broker: redis.Redis) -> None:
    finish(broker, Leases(broker, 30, entries_kept=0), "a")
    assert not broker.exists(STREAM)


def test_what_no_worker_wrote_counts_for_nothing(
    broker: redis.Redis, announcements: AnnouncementStream
) -> None:
    for fields in ({"jobs": "{"}, {"jobs": "[1]"}, {"other": "x"}):
        broker.xadd(STREAM, fields)
    assert [group for _, group in announcements.read("0", 0)] == [[], [], []]


def test_jobs_are_announced_by_a_server_that_lost_their_leases(
    broker: redis.Redis, announcements: AnnouncementStream
) -> None:
    """Their rows are committed, so no reconciler sends them again: this is their only moment."""
    leases = Leases(broker, 30, entries_kept=100)
    broker.lpush("q", "a")
    taken = leases.take("q", 1, claim=True).leases
    broker.flushall()
    assert leases.ack("q", taken, [announced("a")]) == {taken[0].delivery}
    assert ids_of(announcements.read("0", 0)) == [["a"]]


def test_a_full_redis_acknowledges_and_announces_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with RedisServer() as server, redis.Redis.from_url(server.url) as broker:
        leases = Leases(broker, 30, entries_kept=100)
        broker.lpush("q", "a", "b", "c", "d")
        first, second, third, fourth = leases.take("q", 4, claim=True).leases
        broker.config_set("maxmemory", "100kb")
        assert leases.ack("q", [first], [announced("a")]) == set()
        assert leases.bury("q", [second], [announced("b")]) == set()
        assert leases.ack("q", [third], [announced("c")]) == set()
        assert not broker.exists(STREAM)
        assert broker.hlen(QueueKeys("q").messages) == 1
        broker.config_set("maxmemory", "0")
        leases.ack("q", [fourth], [announced("d")])
        assert broker.xlen(STREAM) == 1
    refused, counted = [record.getMessage() for record in caplog.records]
    assert "takes no announcements" in refused
    assert "OOM" in refused
    assert counted == "3 finished jobs were not announced"


def test_on_a_full_redis_the_oldest_announcements_make_room_for_jobs() -> None:
    with RedisServer() as server, redis.Redis.from_url(server.url) as broker:
        leases = Leases(broker, 30, entries_kept=1000)
        for number in range(300):
            finish(broker, leases, str(number))
        broker.lpush("q", *"abcd")
        taken = leases.take("q", 4, claim=True).leases
        broker.config_set("maxmemory", "100kb")
        for lease in taken:
            assert leases.ack("q", [lease], [announced("more")]) == set()
        assert broker.xlen(STREAM) <= 100


def test_a_key_that_is_no_stream_keeps_no_job_from_its_acknowledgement(
    broker: redis.Redis,
) -> None:
    broker.set(STREAM, "mine")
    finish(broker, Leases(broker, 30, entries_kept=100), "a")
    assert not broker.exists(QueueKeys("q").messages)


def test_every_outcome_is_announced_as_its_row(
    workers: Workers, announcements: AnnouncementStream
) -> None:
    workers.configure(lease_seconds="0.5", max_attempts="1")
    with workers.client() as client, workers.broker() as broker:
        poisoned = client.submit_text("scripted", "its worker has died")
        Leases(broker, duration=0.001).take("scripted", 1, claim=True)
        workers.start()
        ids = [
            poisoned,
            client.submit_text("scripted", "fine", run="r1"),
            client.submit_text("scripted", "nan"),
            client.submit_text("scripted", "late", expires=timedelta(seconds=-1)),
        ]
        broker.lpush("scripted", "rubbish")
        wait_until_nothing_is_left(broker)
        rows = {row.id: row for row in newest_results(client._database)}
    said = {each["id"]: each for _, group in announcements.read("0", 0) for each in group}
    assert {each["error_code"] for each in said.values()} == {
        None,
        "poisoned",
        "unstorable",
        "expired",
        "invalid_message",
    }
    assert set(said) == set(rows) > set(ids)
    for job_id, row in rows.items():
        assert said[job_id] == {
            "id": row.id,
            "model": row.model,
            "run": row.run_id,
            "status": row.status,
            "label": row.label,
            "score": row.score,
            "error_code": row.error_code,
        }


def test_jobs_of_a_worker_that_died_before_acknowledging_are_announced_later(
    workers: Workers, announcements: AnnouncementStream
) -> None:
    """As the rows that it had committed, though the second run of a poisoned job says otherwise."""
    workers.configure(lease_seconds="0.5", max_attempts="1")
    with workers.client() as client:
        ids = client.submit_many("scripted", [NewJob(text=f"t{i}") for i in range(3)]).ids
        died = workers.start_faulty("kill", "committed", wait=False)
        died.process.wait()
        assert announcements.read("0", 0) == []
        workers.start()
        with workers.broker() as broker:
            wait_until_nothing_is_left(broker)
    said = [each for _, group in announcements.read("0", 0) for each in group]
    assert sorted(each["id"] for each in said) == sorted(ids)
    assert {(each["status"], each["error_code"]) for each in said} == {("succeeded", None)}


def test_the_same_job_twice_in_a_group_is_announced_once_a_group(
    workers: Workers, announcements: AnnouncementStream
) -> None:
    with workers.client() as client, workers.broker() as broker:
        job_id = client.submit_text("scripted", "twice")
        broker.lpush("scripted", broker.lindex("scripted", 0))
        workers.start()
        client.wait(job_id)
        wait_for(lambda: announcements.read("0", 0))
        wait_until_nothing_is_left(broker)
    for group in ids_of(announcements.read("0", 0)):
        assert group == [job_id]
