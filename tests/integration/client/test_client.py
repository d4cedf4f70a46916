"""The client on a real Redis and real databases."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from labelmill.broker import message
from labelmill.broker.queues import QueueKeys
from labelmill.client import Client, NewJob
from labelmill.core.errors import (
    BrokerUnavailable,
    DatabaseUnavailable,
    DuplicateJob,
    JobError,
    WaitTimeout,
)
from labelmill.db.database import Database
from labelmill.local.redis import RedisServer


def waiting(broker: redis.Redis, queue: str = "q") -> list[message.Message]:
    """The messages of all lists of a queue, oldest first."""
    return [
        message.decode(raw)
        for name in QueueKeys(queue).lists
        for raw in reversed(broker.lrange(name, 0, -1))
    ]


def test_a_text_is_in_the_ledger_and_in_the_queue(
    client: Client, broker: redis.Redis, database: Database
) -> None:
    job_id = client.submit_text("q", "hello", run="r", top_k=3)
    [sent] = waiting(broker)
    assert sent.id == job_id
    assert sent.job is not None
    assert (sent.job.text, sent.job.run, sent.job.options.top_k) == ("hello", "r", 3)
    written = database.jobs.get(job_id)
    assert written is not None
    assert written.payload == {"text": "hello", "run": "r", "options": {"top_k": 3}}
    assert sent.enqueued_at == written.enqueued_at


def test_the_ledger_holds_what_is_needed_to_send_again(client: Client, database: Database) -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    job_id = client.submit_text("q", "x", priority=6, eta=moment, expires=moment)
    job = database.jobs.get(job_id)
    assert job is not None
    assert (job.priority, job.eta, job.expires_at) == (6, moment, moment)


def test_priorities_choose_the_list(client: Client, broker: redis.Redis) -> None:
    client.submit_text("q", "late", priority=9)
    client.submit_text("q", "soon", priority=0)
    assert [sent.job.text for sent in waiting(broker) if sent.job] == ["soon", "late"]


def test_an_image_is_sent_as_bytes_path_or_uri(
    client: Client, broker: redis.Redis, tmp_path: Path
) -> None:
    client.submit_image("q", b"\x00\xff", image_name="scan.png")
    client.submit_image("q", tmp_path / "a.png")
    client.submit_image("q", "s3://bucket/a.png")
    images = [sent.job.image for sent in waiting(broker) if sent.job and sent.job.image]
    assert images[0].inline_bytes() == b"\x00\xff"
    assert [image.name for image in images] == ["scan.png", None, None]
    assert [image.uri for image in images[1:]] == [str(tmp_path / "a.png"), "s3://bucket/a.png"]


def test_an_id_can_be_used_once(client: Client, broker: redis.Redis) -> None:
    client.submit_text("q", "first", id="mine")
    with pytest.raises(DuplicateJob):
        client.submit_text("q", "second", id="mine")
    assert [sent.id for sent in waiting(broker)] == ["mine"]


def test_of_clients_that_use_an_id_at_once_one_is_first_and_the_others_are_told(
    redis_url: str, database_url: str, broker: redis.Redis
) -> None:
    together = threading.Barrier(4)

    def submit(number: int) -> int:
        duplicates = 0
        with Client(redis_url, database_url) as client:
            for job in range(10):
                together.wait(30)
                try:
                    client.submit_text("q", f"of client {number}", id=f"job-{job}")
                except DuplicateJob:
                    duplicates += 1
        return duplicates

    with ThreadPoolExecutor(4) as pool:
        duplicates = list(pool.map(submit, range(4)))
    assert sum(duplicates) == 30
    assert sorted(sent.id for sent in waiting(broker)) == [f"job-{job}" for job in range(10)]


def test_a_job_that_can_never_be_done_is_refused_at_once(
    client: Client, broker: redis.Redis
) -> None:
    with pytest.raises(JobError, match="text is empty"):
        client.submit_text("q", "")
    assert waiting(broker) == []


def test_many_jobs_are_one_run(client: Client, broker: redis.Redis, database: Database) -> None:
    submitted = client.submit_many("q", (NewJob(text=f"t{i}") for i in range(2500)), source="s")
    assert len(set(submitted.ids)) == 2500
    assert [sent.id for sent in waiting(broker)] == submitted.ids
    run = database.runs.get(submitted.run)
    assert run is not None
    assert (run.model, run.source, run.submitted) == ("q", "s", 2500)
    assert run.finished_at is not None


def test_many_jobs_tell_of_duplicates_and_rejects_and_send_the_rest(
    client: Client, broker: redis.Redis
) -> None:
    client.submit_text("q", "x", id="before")
    jobs = [
        NewJob(text="a", id="before"),
        NewJob(text="b", id="twice"),
        NewJob(text="c", id="twice"),
        NewJob(text=""),
        NewJob(text="d", id="good"),
    ]
    submitted = client.submit_many("q", jobs)
    assert submitted.ids == ["twice", "good"]
    assert sorted(submitted.duplicates) == ["before", "twice"]
    assert [number for number, _ in submitted.rejected] == [3]
    assert [sent.id for sent in waiting(broker)] == ["before", "twice", "good"]


def test_messages_are_shaped_like_celerys_own(
    client: Client, broker: redis.Redis, redis_url: str
) -> None:
    import celery

    celery.Celery("shop", broker=redis_url).send_task(
        "labelmill.classify", kwargs={"text": "x"}, queue="q", task_id="celerys"
    )
    client.submit_text("q", "x", id="ours")
    celerys, ours = (json.loads(raw) for raw in reversed(broker.lrange("q", 0, -1)))
    assert ours.keys() == celerys.keys()
    assert ours["properties"].keys() >= celerys["properties"].keys() - {"reply_to"}
    assert ours["headers"].keys() >= {"lang", "task", "id", "eta", "expires", "retries"}
    assert message.decode(json.dumps(ours).encode()).job == (
        message.decode(json.dumps(celerys).encode()).job
    )


def test_waiting_ends_in_time(client: Client) -> None:
    job_id = client.submit_text("q", "x")
    with pytest.raises(WaitTimeout):
        client.wait(job_id, timeout=0.05)
    assert client.result(job_id) is None


def test_without_redis_nothing_was_submitted(sqlite_url: str, tmp_path: Path) -> None:
    with RedisServer() as server, Client(server.url, sqlite_url) as client:
        client.submit_text("q", "x", id="sent")
        server.kill()
        with pytest.raises(BrokerUnavailable):
            client.submit_text("q", "x", id="unsent")
        server.start()
        assert client.submit_text("q", "x", id="unsent") == "unsent"


def test_without_the_database_nothing_is_published(broker: redis.Redis, redis_url: str) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    with Client(redis_url, nowhere) as client, pytest.raises(DatabaseUnavailable):
        client.submit_text("q", "x")
    assert waiting(broker) == []


@pytest.mark.parametrize("moment", [{"eta": "soon"}, {"expires": 60}])
def test_a_moment_of_a_wrong_type_is_told(client: Client, moment: dict[str, Any]) -> None:
    with pytest.raises(JobError, match=f"{next(iter(moment))} is a datetime"):
        client.submit_text("topics", "hello", **moment)
