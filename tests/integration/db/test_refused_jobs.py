"""The ledger refuses jobs: each caller is told of its own, and the others are submitted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg
import pytest
import redis
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from labelmill.broker import message
from labelmill.client import Client, NewJob
from labelmill.core.errors import DatabaseUnavailable, JobError
from labelmill.db.connection import create_database_engine
from labelmill.db.database import Database
from labelmill.db.refusals import AllJobsRefused
from tests.support.gateway import serving, settings_for
from tests.support.rows import a_job
from tests.support.triggers import OF_POSTGRESQL, OF_SQLITE, add_trigger, refuse_by

SECRET = "the patient's name is Ada"


@pytest.fixture
def client(redis_url: str, database_url: str) -> Iterator[Client]:
    with Client(redis_url, database_url) as client:
        yield client


@pytest.fixture
def refusing(database: Database) -> Database:
    """A database that refuses the jobs of some ids, and says in its words what they hold."""
    quoted = f"RAISE(ABORT, 'not this: {SECRET.replace(chr(39), chr(39) * 2)}')"
    if database.engine.dialect.name == "postgresql":
        quoted = "RAISE EXCEPTION 'not this: %', NEW.payload"
    add_trigger(database, "NEW.id LIKE 'bad%'", quoted, table="jobs")
    return database


def ids_in(broker: redis.Redis, queue: str = "q") -> list[str]:
    return sorted(
        message.decode(raw).id  # type: ignore[arg-type]
        for raw in broker.lrange(queue, 0, -1)
    )


def test_a_lone_job_is_an_error_of_its_own(
    client: Client, refusing: Database, broker: redis.Redis
) -> None:
    with pytest.raises(JobError, match="the database refused this job: not this") as raised:
        client.submit_text("q", SECRET, id="bad")
    assert raised.value.code == "unstorable"
    assert "Ada" not in str(raised.value)
    assert client.submit_text("q", SECRET, id="good") == "good"
    assert ids_in(broker) == ["good"]


@pytest.mark.parametrize(
    ("database_url", "what"),
    [("postgresql", each) for each in OF_POSTGRESQL] + [("sqlite", each) for each in OF_SQLITE],
    indirect=["database_url"],
)
def test_of_many_the_others_are_submitted(
    client: Client, database: Database, broker: redis.Redis, what: str
) -> None:
    refuse_by(database, what, "NEW.id LIKE 'bad%'", table="jobs")
    client.submit_text("q", "before", id="g1")
    names = ["bad0", "g0", "g1", "bad1", *(f"g{n}" for n in range(2, 40)), "bad2", "g2"]
    submitted = client.submit_many("q", [NewJob(text="t", id=name) for name in names], run="r")
    assert [number for number, _ in submitted.rejected] == [0, 3, 42]
    assert {error.code for _, error in submitted.rejected} == {"unstorable"}
    assert sorted(submitted.duplicates) == ["g1", "g2"]
    assert len(submitted.ids) == 39
    assert len(ids_in(broker)) == 40
    progress = database.runs.progress("r")
    assert progress is not None
    assert progress.submitted == 39
    with pytest.raises(JobError):  # and is no duplicate, where the database drops it
        client.submit_text("q", "t", id="bad3")


def test_where_all_are_refused_it_is_the_database(database: Database) -> None:
    refuse_by(database, "raises", "NEW.id <> ''", table="jobs")
    with pytest.raises(AllJobsRefused, match="takes no jobs at all"):
        database.jobs.add_each([a_job(f"{n}") for n in range(200)])
    assert issubclass(AllJobsRefused, DatabaseUnavailable)  # which is waited for


def test_a_job_that_cannot_be_claimed_holds_up_no_others(
    database: Database, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """A trigger that looks at every change of the ledger: the reconciler's claims are some."""
    database.jobs.add([a_job(name) for name in ("a", "bad", "c")])
    sqlite = database.engine.dialect.name == "sqlite"
    action = (
        f"RAISE(ABORT, '{SECRET.split()[0]}')" if sqlite else "RAISE EXCEPTION '%', NEW.payload"
    )
    add_trigger(database, "NEW.id = 'bad'", action, table="jobs", event="UPDATE")
    claimed = database.jobs.claim_lost(["a", "bad", "c"], datetime.now(UTC), datetime.now(UTC))
    assert sorted(job.id for job in claimed) == ["a", "c"]
    assert "bad cannot be claimed" in caplog.text
    assert "parcel" not in caplog.text


def test_a_cancellation_whose_row_is_refused_is_told(database: Database, client: Client) -> None:
    client.submit_text("q", "t", id="kept")
    refuse_by(database, "raises", "NEW.id = 'kept'")
    with pytest.raises(JobError, match="the database refused this job"):
        client.cancel("kept")
    assert client.result("kept") is None


def test_in_bulk_a_row_is_rejected_alone(
    refusing: Database, redis_url: str, database_url: str, tmp_path: Path, broker: redis.Redis
) -> None:
    lines = [{"id": f"{'bad' if n % 3 == 0 else 'good'}{n}", "text": SECRET} for n in range(30)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    words = "submit q a.jsonl --id-column id --text-column text --rejects no.jsonl --run r"
    settings = {"LABELMILL_BROKER_URL": redis_url, "LABELMILL_DATABASE_URL": database_url}
    rejects = []
    for _ in range(2):  # once more, to be resumed
        subprocess.run(
            [sys.executable, "-m", "labelmill", *words.split()],
            cwd=tmp_path,
            env=os.environ | settings,
            check=False,
        )
        text = (tmp_path / "no.jsonl").read_text()
        assert "Ada" not in text
        rejects.append([json.loads(each) for each in text.splitlines()])
        progress = refusing.runs.progress("r")
        assert progress is not None
        assert progress.submitted == len(ids_in(broker)) == 20
    assert [each["row"] for each in rejects[0]] == list(range(1, 31, 3))
    assert {each["code"] for each in rejects[0]} == {"unstorable"}
    assert rejects[1] == []


def test_a_gateway_s_callers_are_told_of_their_own(
    refusing: Database, redis_url: str, database_url: str, tmp_path: Path
) -> None:
    with serving(settings_for(tmp_path, redis_url, database_url)) as gateway:

        def post(job_id: str) -> httpx.Response:
            return gateway.post("/v1/jobs", json={"model": "texts", "text": SECRET, "id": job_id})

        bad, good = post("bad"), post("good")
        assert (bad.status_code, bad.json()["code"]) == (422, "unstorable")
        assert "Ada" not in bad.text
        assert good.status_code == 202
        jobs = [{"text": "t", "id": name} for name in ("g0", "bad1", "g1")]
        many = gateway.post("/v1/jobs", json={"model": "texts", "jobs": jobs})
        assert many.status_code == 202, many.text
        errors = [each.get("error") for each in many.json()["jobs"]]
        assert [error and error["code"] for error in errors] == [None, "unstorable", None]


def test_within_a_transaction(client: Client, refusing: Database, database_url: str) -> None:
    theirs = create_engine(create_database_engine(database_url).url)
    with Session(theirs) as session:
        with pytest.raises(JobError, match="the database refused this job"):
            client.enqueue(session, "q", text=SECRET, id="bad")
        session.rollback()
        with session.begin():
            assert client.enqueue(session, "q", text=SECRET, id="good") == "good"
    theirs.dispose()
    assert refusing.jobs.get("good") is not None


def test_within_a_transaction_what_is_dropped_is_no_duplicate(
    client: Client, database: Database, database_url: str
) -> None:
    refuse_by(database, "drops it", "NEW.id LIKE 'bad%'", table="jobs")
    theirs = create_engine(create_database_engine(database_url).url)
    with theirs.begin() as connection, pytest.raises(JobError, match="did not keep"):
        client.enqueue(connection, "q", text="t", id="bad")
    theirs.dispose()


def test_by_django_s_cursor_what_is_dropped_is_no_duplicate(
    redis_url: str, postgresql_url: str
) -> None:
    with Database.open(postgresql_url) as database:
        refuse_by(database, "drops it", "NEW.id LIKE 'bad%'", table="jobs")
    with (
        Client(redis_url, postgresql_url) as client,
        psycopg.connect(postgresql_url.replace("+psycopg", "")) as connection,
        pytest.raises(JobError, match="did not keep"),
    ):
        client.enqueue(_LikeDjango(connection), "q", text="t", id="bad")


class _LikeDjango:
    vendor = "postgresql"

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def cursor(self) -> psycopg.Cursor:
        return self._connection.cursor()

    def on_commit(self, func: object, /) -> None:
        """Nothing is to be published."""
