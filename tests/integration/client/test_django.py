"""Jobs that are enqueued in Django's own transaction, on real databases."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import django
import pytest
import redis
from django.conf import settings
from django.db import ConnectionHandler, transaction
from sqlalchemy.engine import make_url

from labelmill.broker import message
from labelmill.broker.queues import QueueKeys
from labelmill.client import Client
from labelmill.core.errors import DuplicateJob, JobError
from labelmill.db.database import Database
from labelmill.recovery.reconciler import reconciling
from tests.support.rows import due_at


@pytest.fixture
def connection(database_url: str) -> Iterator[Any]:
    """Django's connection, with a table of the app's."""
    if not settings.configured:
        settings.configure(USE_TZ=True)
        django.setup()
    url = make_url(database_url)
    kind = "sqlite3" if url.get_backend_name() == "sqlite" else "postgresql"
    handler = ConnectionHandler(
        {
            "default": {
                "ENGINE": f"django.db.backends.{kind}",
                "NAME": url.database,
                "USER": url.username,
                "PASSWORD": url.password,
                "HOST": url.host or url.query.get("host"),
                "PORT": url.port,
            }
        }
    )
    connection = handler["default"]
    try:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        yield connection
    finally:
        connection.close()


@pytest.fixture
def atomic(connection: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``transaction.atomic`` on that connection."""
    monkeypatch.setattr(transaction, "get_connection", lambda using=None: connection)
    return transaction.atomic


def order(connection: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO orders VALUES (1)")


def orders(connection: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM orders")
        return int(cursor.fetchone()[0])


def sent(broker: redis.Redis) -> list[str]:
    return [
        message.decode(raw).id
        for name in QueueKeys("q").lists
        for raw in broker.lrange(name, 0, -1)
    ]


def test_a_job_is_committed_with_the_apps_rows_and_then_sent(
    client: Client, connection: Any, atomic: Any, database: Database, broker: redis.Redis
) -> None:
    eta = datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    with atomic():
        order(connection)
        job_id = client.enqueue(
            connection,
            "q",
            text="grüße",
            run="r",
            priority=5,
            eta=eta,
            expires=timedelta(days=3650),
        )
        assert sent(broker) == []
        assert database.jobs.get(job_id) is None
    assert sent(broker) == [job_id]
    written = database.jobs.get(job_id)
    assert written is not None
    assert written.payload == {"text": "grüße", "run": "r"}
    assert (written.eta, written.priority, due_at(database, job_id)) == (eta, 5, eta)
    assert written.expires_at > eta
    assert datetime.now(UTC) - written.enqueued_at < timedelta(minutes=5)


def test_what_is_rolled_back_is_never_sent(
    client: Client, connection: Any, atomic: Any, database: Database, broker: redis.Redis
) -> None:
    with suppress(ZeroDivisionError), atomic():
        order(connection)
        job_id = client.enqueue(connection, "q", text="hello")
        raise ZeroDivisionError
    assert (sent(broker), database.jobs.get(job_id), orders(connection)) == ([], None, 0)


def test_what_is_refused_leaves_the_transaction_as_it_was(
    client: Client, connection: Any, atomic: Any, broker: redis.Redis
) -> None:
    with atomic():
        client.enqueue(connection, "q", text="hello", id="mine")
        with pytest.raises(DuplicateJob):
            client.enqueue(connection, "q", text="hello", id="mine")
        with pytest.raises(JobError):
            client.enqueue(connection, "q", text="")
        order(connection)
    assert (sent(broker), orders(connection)) == (["mine"], 1)


def test_a_job_whose_sender_died_after_the_commit_is_sent_by_the_reconciler(
    client: Client,
    connection: Any,
    atomic: Any,
    broker: redis.Redis,
    redis_url: str,
    database_url: str,
) -> None:
    with suppress(SystemExit), atomic():
        # What is called first after the commit ends the process.
        connection.on_commit(lambda: sys.exit(1))
        job_id = client.enqueue(connection, "q", text="hello")
    assert sent(broker) == []
    with reconciling(redis_url, database_url, 0.001, 100_000) as reconciler:
        reconciler.sweep()
    assert sent(broker) == [job_id]


def test_a_redis_that_is_away_does_not_undo_the_commit(
    connection: Any,
    atomic: Any,
    database_url: str,
    database: Database,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Client("redis://127.0.0.1:1", database_url) as client, atomic():
        order(connection)
        job_id = client.enqueue(connection, "q", text="hello")
    assert database.jobs.get(job_id) is not None
    assert orders(connection) == 1
    assert "left to the reconciler" in caplog.text
