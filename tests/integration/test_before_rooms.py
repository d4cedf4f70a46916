"""What the commit before the rooms left in Redis and in a database goes on working."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from redis import Redis

from labelmill.broker import message
from labelmill.broker.announcements import FIELD, STREAM, decode
from labelmill.broker.group import ConsumerGroup
from labelmill.broker.heartbeat import heartbeat_key
from labelmill.bulk.checkpoint import run_publisher
from labelmill.client import Client, ErrorCode, Status
from labelmill.core.job import SubmittedJob
from labelmill.db import schema
from labelmill.db.connection import create_database_engine
from labelmill.db.tokens import Tokens
from labelmill.gateway.secrets import digest_of
from labelmill.recovery import cursor
from labelmill.worker.celery import app
from tests.support.waiting import wait_for
from tests.support.worker import ROOT, Workers

BEFORE = ROOT / "tests" / "data" / "before_rooms"
LEFT: dict[str, Any] = json.loads((BEFORE / "redis.json").read_text())

# The scripted engine labels a text with itself.
LABELS = {
    "leased": "leased before",
    "delayed": "delayed before",
    "waiting": "waits before",
    "last": "urgent no more",
    "odd": "a lone \N{REPLACEMENT CHARACTER} surrogate and ünïcode",
    "of-run": "of a run",
    "bare": "bare before",
}
ERRORS = {
    "expired": ErrorCode.EXPIRED,
    "inline-image": ErrorCode.WRONG_INPUT_KIND,
    "image-uri": ErrorCode.WRONG_INPUT_KIND,
}


def restore_redis(broker: Redis) -> None:
    for key, kept in LEFT["keys"].items():
        value = kept["value"]
        match kept["type"]:
            case "string":
                broker.set(key, b64decode(value))
            case "list":
                broker.rpush(key, *map(b64decode, value))
            case "hash":
                broker.hset(key, mapping={b64decode(k): b64decode(v) for k, v in value.items()})
            case "zset":
                broker.zadd(key, {b64decode(member): score for member, score in value.items()})
            case "stream":
                for number, fields in value:
                    entry = {b64decode(k): b64decode(v) for k, v in fields.items()}
                    broker.xadd(key, entry, id=number)


@pytest.fixture
def before(workers: Workers) -> Workers:
    """Workers on what was left; none is started."""
    file = Path(workers.database_url.removeprefix("sqlite:///"))
    file.unlink()
    with sqlite3.connect(file) as database:
        dump = (BEFORE / "labelmill.sql").read_text()
        database.executescript(dump.replace("{folder}", str(workers.folder)))
    database.close()
    schema.upgrade(workers.database_url)
    (workers.folder / "messages.csv").write_text("id,body\na,first\nb,second\nc,third\n")
    with workers.broker() as broker:
        restore_redis(broker)
    workers.configure(lease_seconds="1")
    return workers


@pytest.fixture
def client(before: Workers) -> Iterator[Client]:
    with before.client() as client:
        yield client


def labelmill(before: Workers, *arguments: str) -> str:
    """Run a command, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "labelmill", *arguments],
        cwd=before.folder,
        env=before.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_job_that_was_left_in_redis_gets_its_row(before: Workers, client: Client) -> None:
    before.start()
    wait_for(lambda: all(client.result(each) for each in [*LABELS, *ERRORS]))
    for job_id, label in LABELS.items():
        result = client.result(job_id)
        assert result is not None
        assert (result.status, result.label) == (Status.SUCCEEDED, label), job_id
    for job_id, code in ERRORS.items():
        result = client.result(job_id)
        assert result is not None
        assert result.error_code == code, job_id
    leased, waiting = client.result("leased"), client.result("waiting")
    assert leased is not None
    assert leased.attempt == 2
    assert waiting is not None
    assert (waiting.run_id, len(waiting.scores or [])) == ("client", 1)


def test_what_was_lost_is_sent_again_and_what_was_buried_can_be_replayed(
    before: Workers, client: Client
) -> None:
    before.start()
    [letter] = labelmill(before, "dead", "list", "--json").splitlines()
    assert json.loads(letter)["id"] == "buried"
    labelmill(before, "dead", "replay", "buried")
    assert client.wait("buried:replay1").label == "buried before"
    wait_for(lambda: all(client.result(each) for each in LABELS))
    labelmill(before, "reconcile", "--grace", "0.1")
    assert client.wait("lost").label == "lost before"


def test_the_rows_that_were_written_are_read(before: Workers, client: Client) -> None:
    done, failed = client.result("done"), client.result("failed")
    assert done is not None
    assert (done.label, done.score, done.scores) == (
        "labelled before",
        1.0,
        [{"label": "labelled before", "score": 1.0}],
    )
    assert failed is not None
    assert (failed.status, failed.error_code) == (Status.FAILED, ErrorCode.MODEL_FAILED)
    progress = client.progress("csv")
    assert progress is not None
    assert (progress.submitted, progress.succeeded, progress.failed) == (3, 3, 0)
    rows = [json.loads(line) for line in labelmill(before, "results", "--json").splitlines()]
    assert {row["id"] for row in rows} == {"done", "failed", "a", "b", "c"}
    labelmill(before, "results", "--run", "csv", "--output", "labels.csv")
    assert "first" in (before.folder / "labels.csv").read_text()
    status = json.loads(labelmill(before, "status", "--json"))
    assert set(status["runs"]) == {"csv", "many"}
    assert status["queues"]["scripted"]["dead"] == 1


def test_a_run_is_resumed_where_it_was(before: Workers) -> None:
    before.start()
    with (before.folder / "messages.csv").open("a") as file:
        file.write("d,fourth\n")
    more = ("submit", "--resume", "csv", "--accept-changes", "--wait", "--json")
    said = json.loads(labelmill(before, *more).splitlines()[-1])
    assert (said["submitted_before"], said["sent"], said["succeeded"]) == (3, 1, 4)


def test_its_database_is_of_this_version_and_its_token_is_good(before: Workers) -> None:
    engine = create_database_engine(before.database_url)
    schema.require_current(engine)
    token = Tokens(engine).find(digest_of(LEFT["token"]))
    engine.dispose()
    assert token is not None
    assert token.name == "before"


def test_its_announcements_are_read(redis_url: str) -> None:
    with Redis.from_url(redis_url) as broker:
        restore_redis(broker)
        entries = [decode(fields[FIELD]) for _, fields in broker.xrange(STREAM)]
    assert [each["id"] for group in entries for each in group] == ["done", "failed", "a", "b", "c"]


def test_messages_are_what_they_were() -> None:
    """A worker of before reads those of now, while replicas are replaced one by one."""
    old = {
        found.id: json.loads(raw)
        for raw in map(b64decode, LEFT["keys"]["scripted"]["value"])
        if (found := message.decode(raw))
    }
    then = message.decode(json.dumps(old["waiting"]).encode())
    assert then.job is not None
    assert then.enqueued_at is not None
    now = json.loads(
        message.encode(
            SubmittedJob.of(then.job, id="waiting", model="scripted", enqueued_at=then.enqueued_at)
        )
    )
    for each in (now, old["waiting"]):
        del each["properties"]["delivery_tag"], each["headers"]["origin"]
    assert now == old["waiting"]


def test_the_keys_in_redis_are_what_they_were(redis_url: str) -> None:
    """Old and new ones meet in one Redis while they are replaced one by one."""
    assert heartbeat_key("w1@test") == "labelmill:worker:w1@test"
    assert cursor._KEY == "labelmill:reconciler:marks"
    with closing(ConsumerGroup(redis_url, "webhook")) as group:
        assert group.given_up_key == "labelmill:webhook:webhook:given-up"
    with run_publisher(redis_url, "csv") as publisher:
        assert publisher._key == "labelmill:run:csv:published"
        assert publisher._key in LEFT["keys"]
        assert publisher._lock.name == "labelmill:run:csv:lock"


def test_names_that_others_use_are_what_they_were() -> None:
    assert {"labelmill.classify", "labelmill.reconcile"} <= set(app.tasks)
    assert app.conf.task_default_queue == "labelmill.maintenance"
    [backend] = entry_points(group="celery.result_backends", name="labelmill")
    with Celery(backend="labelmill+sqlite:///labelmill.db", set_as_current=False) as other:
        assert type(other.backend) is backend.load()
