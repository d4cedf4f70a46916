"""Jobs that are enqueued in a caller's own transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import redis
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from labelmill.broker import message
from labelmill.broker.queues import QueueKeys
from labelmill.client import Client
from labelmill.core.errors import ConfigurationError, DuplicateJob, JobError
from labelmill.db.connection import create_database_engine, for_writing
from labelmill.db.database import Database
from labelmill.local.redis import RedisServer
from labelmill.recovery.reconciler import reconciling
from tests.support.rows import due_at


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The caller's own engine, with a table of the caller's."""
    engine = for_writing(create_database_engine(database_url))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id INTEGER PRIMARY KEY)"))
    yield engine
    engine.dispose()


def order(session: Session, number: int = 1) -> None:
    session.execute(text("INSERT INTO orders VALUES (:id)"), {"id": number})


def sent(broker: redis.Redis) -> list[str]:
    """The ids in the queue, the oldest first."""
    return [
        message.decode(raw).id
        for name in QueueKeys("q").lists
        for raw in reversed(broker.lrange(name, 0, -1))
    ]


def test_a_job_is_committed_with_the_callers_rows_and_then_sent(
    client: Client, engine: Engine, database: Database, broker: redis.Redis
) -> None:
    with Session(engine) as session, session.begin():
        order(session)
        job_id = client.enqueue(session, "q", text="hello", run="r", top_k=2, priority=5)
        assert sent(broker) == []
        assert database.jobs.get(job_id) is None
    assert sent(broker) == [job_id]
    read = message.decode(broker.lindex(QueueKeys("q").list_name(5), 0))
    written = database.jobs.get(job_id)
    assert written is not None
    assert written.payload == {"text": "hello", "run": "r", "options": {"top_k": 2}}
    assert read.job is not None
    assert read.job.to_kwargs() == written.payload
    assert read.enqueued_at == written.enqueued_at <= due_at(database, job_id)


def test_what_is_rolled_back_is_never_sent(
    client: Client, engine: Engine, database: Database, broker: redis.Redis
) -> None:
    with Session(engine) as session:
        order(session)
        lost = client.enqueue(session, "q", text="x")
        session.rollback()
        # The same session, once more.
        order(session)
        kept = client.enqueue(session, "q", text="y")
        session.commit()
        session.commit()
    assert sent(broker) == [kept]
    assert database.jobs.get(lost) is None


def test_a_savepoint_is_sent_with_the_transaction_around_it(
    client: Client, engine: Engine, database: Database, broker: redis.Redis
) -> None:
    with Session(engine) as session, session.begin():
        with session.begin_nested():
            kept = client.enqueue(session, "q", text="x")
        with session.begin_nested() as savepoint:
            lost = client.enqueue(session, "q", text="y")
            savepoint.rollback()
        assert sent(broker) == []
    assert sent(broker) == [kept]
    assert database.jobs.get(lost) is None


def test_a_session_within_a_larger_transaction_sends_nothing_by_itself(
    client: Client, engine: Engine, broker: redis.Redis
) -> None:
    with engine.begin() as connection:
        with Session(connection) as session:
            job_id = client.enqueue(session, "q", text="x")
            session.commit()
        assert sent(broker) == []
    assert client.publish([job_id]) == [job_id]


def test_a_scoped_session(client: Client, engine: Engine, broker: redis.Redis) -> None:
    session = scoped_session(sessionmaker(engine))
    job_id = client.enqueue(session, "q", image="s3://bucket/a.png")
    session.commit()
    session.remove()
    assert sent(broker) == [job_id]


def test_a_connections_jobs_are_published_once_and_only_after_the_commit(
    client: Client, engine: Engine, broker: redis.Redis
) -> None:
    with engine.begin() as connection:
        ids = [client.enqueue(connection, "q", text=f"{n}") for n in range(3)]
        assert client.publish(ids) == []
    assert client.publish([*ids, "never enqueued"]) == ids
    assert client.publish(ids) == []
    assert sent(broker) == ids


def test_a_job_with_an_eta(client: Client, engine: Engine, database: Database) -> None:
    eta = datetime.now(UTC) + timedelta(days=1)
    with Session(engine) as session, session.begin():
        job_id = client.enqueue(session, "q", text="x", eta=eta)
    written = database.jobs.get(job_id)
    assert written is not None
    assert written.eta == due_at(database, job_id) == eta


def test_a_row_of_the_ledger_that_was_written_by_sql(
    postgresql_url: str, redis_url: str, broker: redis.Redis
) -> None:
    with psycopg.connect(postgresql_url) as connection:
        # As the docs have it.
        connection.execute(
            "INSERT INTO jobs (id, model, payload, priority, enqueued_at, due_at)"
            " VALUES (%s, %s, %s, 0, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP)",
            ["mine", "q", json.dumps({"text": "hello"})],
        )
    with Client(redis_url, postgresql_url) as client:
        assert client.publish(["mine"]) == ["mine"]
    read = message.decode(broker.lindex("q", 0))
    assert read.job is not None
    assert (read.id, read.job.text) == ("mine", "hello")


def test_a_refused_job_leaves_the_transaction_usable(
    client: Client, engine: Engine, broker: redis.Redis
) -> None:
    client.submit_text("q", "x", id="before")
    with Session(engine) as session, session.begin():
        order(session)
        with pytest.raises(DuplicateJob):
            client.enqueue(session, "q", text="y", id="before")
        with pytest.raises(JobError, match="text is empty"):
            client.enqueue(session, "q", text="")
        client.enqueue(session, "q", text="z", id="after")
    assert sent(broker) == ["before", "after"]


def test_a_transaction_of_another_kind_of_database(client: Client) -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        connection.dialect.name = "oracle"
        with pytest.raises(ConfigurationError, match="oracle"):
            client.enqueue(connection, "q", text="x")
    engine.dispose()


def test_without_redis_the_commit_holds_and_the_reconciler_sends(
    database_url: str, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer() as server:
        with Client(server.url, database_url) as client:
            server.kill()
            with Session(engine) as session, session.begin():
                order(session)
                job_id = client.enqueue(session, "q", text="x")
            assert "left to the reconciler" in caplog.text
        server.start()
        with (
            redis.Redis.from_url(server.url) as broker,
            reconciling(server.url, database_url, 0.001, 100_000) as reconciler,
        ):
            assert reconciler.sweep().sent == 1
            assert sent(broker) == [job_id]


def test_a_process_that_ends_before_it_publishes(
    client: Client, engine: Engine, broker: redis.Redis, redis_url: str, database_url: str
) -> None:
    with engine.begin() as connection:
        job_id = client.enqueue(connection, "q", text="x")
    with reconciling(redis_url, database_url, 0.001, 100_000) as reconciler:
        assert reconciler.sweep().sent == 1
    assert sent(broker) == [job_id]
    # It is claimed: whoever comes late sends nothing.
    assert client.publish([job_id]) == []
