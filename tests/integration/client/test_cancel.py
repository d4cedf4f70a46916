"""Cancelling jobs: exactly one row each, on a real Redis and real databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import redis
from typer.testing import CliRunner

from labelmill.broker import message
from labelmill.broker.announcements import AnnouncementStream
from labelmill.broker.inspect import QueueInspector
from labelmill.broker.leases import Leases
from labelmill.broker.queues import QueueKeys
from labelmill.cli.main import app
from labelmill.client import Client, DuplicateJob, UnknownJob
from labelmill.local.redis import RedisServer
from labelmill.recovery.reconciler import reconciling
from labelmill.testing import InMemoryClient
from tests.support.counting import database_of
from tests.support.rows import a_result


@pytest.fixture
def client(redis_url: str, database_url: str) -> Iterator[Client]:
    with Client(redis_url, database_url) as client:
        yield client


def depth(broker: redis.Redis) -> dict[str, int]:
    return dict(QueueInspector(broker).depths(["q"])["q"])


def test_a_job_that_waits_is_taken_out_of_its_queue(
    client: Client, broker: redis.Redis, redis_url: str
) -> None:
    kept = [client.submit_text("q", f"t{n}", priority=n % 10) for n in range(40)]
    job_id = client.submit_text("q", "x", id='ein "Ümlaut" \\ und 名前', run="r", priority=4)
    with AnnouncementStream(redis_url) as stream:
        assert client.cancel(job_id)
        [(_, [said])] = stream.read("0", 0)
    assert (said["id"], said["run"], said["error_code"]) == (job_id, "r", "revoked")
    row = client.result(job_id)
    assert row is not None
    assert (row.status, row.error_code, row.run_id, row.attempt) == ("failed", "revoked", "r", 0)
    left = [
        message.decode(raw).id
        for name in QueueKeys("q").lists
        for raw in broker.lrange(name, 0, -1)
    ]
    assert sorted(left) == sorted(kept)
    assert not client.cancel(job_id)
    with pytest.raises(DuplicateJob):
        client.submit_text("q", "x", id=job_id)


def test_what_only_looks_like_it_stays(client: Client, broker: redis.Redis) -> None:
    job_id = client.submit_text("q", "x", id="a")
    [ours] = broker.lrange("q", 0, -1)
    other = b'{"headers": {"correlation_id":"a"}, "properties": {"correlation_id":"b"}}'
    broker.lpush("q", other)
    assert QueueInspector(broker).absent("q", ["a", "b"]) == set()
    assert client.cancel(job_id)
    assert broker.lrange("q", 0, -1) == [other]
    assert ours != other


def test_a_job_that_is_delayed(client: Client, broker: redis.Redis) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    ids = [client.submit_text("q", "later", eta=soon) for _ in range(3)]
    leases = Leases(broker, 30.0)
    for lease in leases.take("q", 9, claim=True).leases:
        leases.delay(lease, soon)
    assert client.cancel(ids[1])
    assert depth(broker)["delayed"] == 2
    assert broker.hlen(QueueKeys("q").messages) == 2
    assert broker.hlen(QueueKeys("q").attempts) == 2


def test_a_job_in_hand_has_the_row_that_cancelled_it(client: Client, broker: redis.Redis) -> None:
    job_id = client.submit_text("q", "x")
    Leases(broker, 30.0).take("q", 1, claim=True)
    assert client.cancel(job_id)
    assert depth(broker)["leased"] == 1
    # The worker writes what it has found.
    assert database_of(client).results.write([a_result(job_id)]) == 0
    assert client.wait(job_id).error_code == "revoked"


def test_a_job_with_a_row_and_one_that_nobody_knows(client: Client) -> None:
    job_id = client.submit_text("q", "x")
    database_of(client).results.write([a_result(job_id)])
    assert not client.cancel(job_id)
    assert client.wait(job_id).status == "succeeded"
    with pytest.raises(UnknownJob, match="'nobody'"):
        client.cancel("nobody")


def test_with_redis_away_it_is_cancelled_all_the_same(database_url: str) -> None:
    with RedisServer() as server, Client(server.url, database_url) as client:
        job_id = client.submit_text("q", "x")
        server.kill()
        assert client.cancel(job_id)
        assert client.wait(job_id).error_code == "revoked"


def test_the_reconciler_leaves_it_alone(
    client: Client, redis_url: str, database_url: str, broker: redis.Redis
) -> None:
    job_id = client.submit_text("q", "x")
    client.cancel(job_id)
    with reconciling(redis_url, database_url, 0.001, 100_000) as reconciler:
        assert reconciler.sweep().sent == 0
    assert depth(broker)["waiting"] == 0


def test_the_double_cancels_too() -> None:
    with InMemoryClient() as client:
        job_id = client.submit_text("q", "x")
        assert client.cancel(job_id)
        assert client.broker.waiting("q") == 0
        assert client.wait(job_id).error_code == "revoked"


def test_the_command(
    client: Client, redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABELMILL_BROKER_URL", redis_url)
    monkeypatch.setenv("LABELMILL_DATABASE_URL", database_url)
    job_id = client.submit_text("q", "x")
    first = CliRunner().invoke(app, ["cancel", job_id])
    assert (first.exit_code, first.stderr) == (0, f"{job_id} cancelled\n")
    again = CliRunner().invoke(app, ["cancel", job_id, "nobody"])
    assert (again.exit_code, again.stderr) == (
        1,
        f"{job_id} has its result\nnobody is not in the ledger\n",
    )
