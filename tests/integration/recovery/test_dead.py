"""Dead letters: listed without what is in them, replayed as new jobs, dropped."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest
import redis
from click.testing import Result as Done
from typer.testing import CliRunner

from labelmill.broker import message
from labelmill.broker.queues import QueueKeys
from labelmill.cli.main import app
from labelmill.core.errors import BrokerUnavailable, ConfigurationError, LabelmillError
from labelmill.core.job import parse_job
from labelmill.core.run import Run
from labelmill.db.database import Database
from labelmill.recovery import dead_letters as module
from labelmill.recovery.dead_letters import DeadLetters
from tests.support.rows import a_message
from tests.support.worker import Workers

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def letters(broker: redis.Redis, database: Database) -> DeadLetters:
    return DeadLetters(broker, database)


@dataclass
class CommandLine:
    """Runs labelmill commands on the test's Redis and database."""

    def run(self, *arguments: str) -> Done:
        done = CliRunner().invoke(app, ["dead", *arguments])
        if isinstance(done.exception, LabelmillError):
            raise done.exception
        return done

    def lines(self, *arguments: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.run(*arguments).stdout.splitlines()]


@pytest.fixture
def command_line(redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setenv("LABELMILL_BROKER_URL", redis_url)
    monkeypatch.setenv("LABELMILL_DATABASE_URL", database_url)
    return CommandLine()


def bury(broker: redis.Redis, *ids: str, queue: str = "q", text: str = "secret") -> None:
    for job_id in ids:
        raw = a_message(
            job_id,
            {"text": text, "run": "r"},
            queue,
            enqueued_at=NOW,
            priority=6,
            eta=NOW,
            expires_at=NOW,
        )
        broker.lpush(QueueKeys(queue).dead, raw)


def dead_ids(broker: redis.Redis, queue: str = "q") -> list[str]:
    return [message.decode(raw).id for raw in broker.lrange(QueueKeys(queue).dead, 0, -1)]


def test_letters_are_listed_without_what_is_in_them(
    command_line: CommandLine, broker: redis.Redis
) -> None:
    bury(broker, "a", "b")
    bury(broker, "c", queue="p")
    done = command_line.run("list", "--json")
    assert "secret" not in done.stdout
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["model"], row["id"]) for row in rows] == [("p", "c"), ("q", "b"), ("q", "a")]
    assert (rows[0]["kind"], rows[0]["run"]) == ("text", "r")
    assert [row["id"] for row in command_line.lines("list", "--model", "q", "--json")] == ["b", "a"]
    assert "secret" not in command_line.run("list").stdout


def test_a_letter_is_shown_with_its_payload_if_asked(
    command_line: CommandLine, broker: redis.Redis
) -> None:
    bury(broker, "a")
    assert "secret" not in command_line.run("show", "a").stdout
    [shown] = command_line.lines("show", "a", "--payload")
    assert shown["payload"] == {"text": "secret", "run": "r"}
    with pytest.raises(LabelmillError, match="no dead letter of b"):
        command_line.run("show", "b")


def test_a_replay_is_a_new_job_at_its_first_attempt(
    letters: DeadLetters, broker: redis.Redis, database: Database
) -> None:
    database.runs.add(Run("r", model="q", source="s", created_at=NOW))
    bury(broker, "a", "b")
    [_, oldest] = letters.of("q")
    assert letters.replay(oldest)
    assert dead_ids(broker) == ["b"]
    sent = message.decode(broker.lindex(QueueKeys("q").list_name(6), 0))
    assert (sent.id, sent.job, sent.eta, sent.expires) == (
        "a:replay1",
        parse_job({"text": "secret", "run": "r"}),
        None,
        None,
    )
    job = database.jobs.get("a:replay1")
    assert job is not None
    assert (job.payload, job.priority) == ({"text": "secret", "run": "r"}, 6)
    progress = database.runs.progress("r")
    assert progress is not None
    assert progress.submitted == 1
    assert not letters.replay(oldest)


def test_a_letter_is_replayed_once_by_two_at_once(
    command_line: CommandLine, broker: redis.Redis, database: Database
) -> None:
    ids = [f"j{n:03}" for n in range(60)]
    bury(broker, *ids)

    def replay_all(_: int) -> None:
        letters = DeadLetters(broker, database)
        for letter in letters.of("q"):
            letters.replay(letter)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(replay_all, range(2)))
    waiting = broker.lrange(QueueKeys("q").list_name(6), 0, -1)
    assert sorted(message.decode(raw).id for raw in waiting) == [f"{each}:replay1" for each in ids]
    assert dead_ids(broker) == []


def test_all_letters_of_many_pages_while_they_are_taken_off(
    command_line: CommandLine, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAGE", 3)
    bury(broker, *(f"{n}" for n in range(10)))
    rows = command_line.lines("replay", "--model", "q", "--json")
    assert [row["replayed_as"] for row in rows] == [f"{n}:replay1" for n in range(9, -1, -1)]
    assert dead_ids(broker) == []


def test_one_that_was_replayed_but_not_taken_off_is_told(
    command_line: CommandLine,
    letters: DeadLetters,
    broker: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bury(broker, "a")
    # As if a process had ended between the ledger and Redis: the reconciler sends the new job.
    with monkeypatch.context() as patched:
        patched.setattr(letters, "_replay", Mock(side_effect=redis.ConnectionError))
        with pytest.raises(BrokerUnavailable):
            letters.replay(next(letters.of("q")))
    [row] = command_line.lines("list", "--json")
    assert row["replayed_as"] == "a:replay1"
    done = command_line.run("replay", "a")
    assert (done.exit_code, "0 replayed, 1 left alone" in done.stderr) == (1, True)


def test_letters_are_dropped(command_line: CommandLine, broker: redis.Redis) -> None:
    bury(broker, "a", "b", "c")
    bury(broker, "d", queue="p")
    assert "1 dropped" in command_line.run("drop", "b").stderr
    assert dead_ids(broker) == ["c", "a"]
    command_line.run("drop", "--all")
    assert command_line.lines("list", "--json") == []
    assert broker.keys() == []


def test_an_unreadable_letter_is_left_alone_and_can_be_dropped(
    command_line: CommandLine, broker: redis.Redis
) -> None:
    broker.lpush(QueueKeys("q").dead, b"no message")
    done = command_line.run("replay", "--all")
    assert done.exit_code == 1
    assert "is not JSON" in done.stderr
    [row] = command_line.lines("list", "--json")
    assert row["kind"] is None
    assert command_line.run("drop", str(row["id"])).exit_code == 0


def test_which_letters_has_to_be_said(command_line: CommandLine) -> None:
    for arguments in ([], ["a", "--all"], ["--model", "q", "--all"]):
        with pytest.raises(ConfigurationError):
            command_line.run("drop", *arguments)


def test_a_replayed_job_gets_a_row_of_its_own(workers: Workers) -> None:
    with (
        redis.Redis.from_url(workers.broker_url) as broker,
        workers.client() as client,
        Database.open(workers.database_url) as database,
    ):
        bury(broker, "a", queue="scripted", text="hello")
        [letter] = DeadLetters(broker, database).of("scripted")
        DeadLetters(broker, database).replay(letter)
        workers.start()
        row = client.wait("a:replay1")
    assert (row.label, row.attempt) == ("hello", 1)
