"""Publishing on a real Redis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from kombu import Connection
from kombu.messaging import Producer

from labelmill.broker import message
from labelmill.broker.publisher import Publisher
from labelmill.core.errors import BrokerUnavailable
from labelmill.core.job import SubmittedJob, parse_job
from labelmill.local.redis import RedisServer

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def publisher(redis_url: str) -> Iterator[Publisher]:
    with closing(Publisher(redis_url)) as publisher:
        yield publisher


def a_job(
    job_id: str = "job-1", text: str = "Where is Łódź?", queue: str = "ours", priority: int = 0
) -> SubmittedJob:
    return SubmittedJob.of(
        parse_job({"text": text}),
        id=job_id,
        model=queue,
        enqueued_at=NOW,
        priority=priority,
        eta=NOW,
        expires_at=NOW,
    )


def publish_with_kombu(url: str, job: SubmittedJob) -> None:
    with Connection(url) as connection:
        Producer(connection).publish(
            message.body(job.payload),
            serializer="json",
            exchange="",
            routing_key=job.model,
            correlation_id=job.id,
            priority=job.priority,
            headers=message.headers(
                job.id, enqueued_at=job.enqueued_at, eta=job.eta, expires=job.expires_at
            ),
        )


def entries(broker: redis.Redis) -> dict[bytes, list[bytes]]:
    return {key: broker.lrange(key, 0, -1) for key in broker.scan_iter()}


def only_entry(broker: redis.Redis) -> tuple[bytes, dict[str, Any]]:
    [(key, [entry])] = entries(broker).items()
    return key, json.loads(entry)


@pytest.mark.parametrize("priority", range(10))
def test_messages_are_kombus(
    redis_url: str, broker: redis.Redis, publisher: Publisher, priority: int
) -> None:
    publication = a_job(priority=priority)
    publish_with_kombu(redis_url, publication)
    kombus_list, kombus = only_entry(broker)
    broker.flushall()

    publisher.publish([publication])

    ours_list, ours = only_entry(broker)
    assert ours_list == kombus_list
    assert ours["properties"].pop("delivery_tag") != kombus["properties"].pop("delivery_tag")
    # Both are JSON, with and without blanks.
    assert message.decode(json.dumps(ours).encode()) == message.decode(json.dumps(kombus).encode())
    del ours["body"], kombus["body"]
    assert ours == kombus


def test_kombu_reads_them(redis_url: str, publisher: Publisher) -> None:
    publisher.publish([a_job()])
    bodies: list[Any] = []
    with Connection(redis_url) as connection:
        queue = connection.SimpleQueue("ours")
        received = queue.get(timeout=10)
        bodies.append(received.payload)
        received.ack()
        queue.close()
    assert bodies == [message.body({"text": "Where is Łódź?"})]


def test_the_order_is_kept_within_a_list(broker: redis.Redis, publisher: Publisher) -> None:
    long = "x" * 200_000  # several commands
    publisher.publish([a_job(f"{n}", long, queue=f"q{n % 2}", priority=n % 4) for n in range(40)])
    ids = {
        key: [message.decode(entry).id for entry in reversed(some)]
        for key, some in entries(broker).items()
    }
    assert ids == {
        b"q0": [f"{n}" for n in range(40) if n % 4 in (0, 2)],
        b"q1": [f"{n}" for n in range(40) if n % 4 == 1],
        b"q1\x06\x163": [f"{n}" for n in range(40) if n % 4 == 3],
    }


def test_nothing_is_nothing(broker: redis.Redis, publisher: Publisher) -> None:
    publisher.publish([])
    assert broker.keys() == []


def test_a_redis_that_dies_and_comes_back() -> None:
    with RedisServer() as server, closing(Publisher(server.url)) as publisher:
        publisher.publish([a_job()])
        server.kill()
        with pytest.raises(BrokerUnavailable):
            publisher.publish([a_job()])
        server.start()
        publisher.publish([a_job()])


def test_a_redis_that_refuses(broker: redis.Redis, publisher: Publisher) -> None:
    broker.set("ours", "not a list")
    with pytest.raises(BrokerUnavailable, match="Redis says: WRONGTYPE"):
        publisher.publish([a_job()])
