"""Submitting in bulk on a real Redis and real databases: once each, however often it is run."""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from labelmill.broker import message
from labelmill.bulk.checkpoint import RunPublisher, run_publisher
from labelmill.bulk.submit import SubmitOptions, SubmitRun
from labelmill.cli.lines import print_line
from labelmill.cli.progress import ViewKind, view_of
from labelmill.cli.single import submit_one
from labelmill.core.errors import (
    BrokerUnavailable,
    ConfigurationError,
    DatabaseUnavailable,
    SourceError,
)
from labelmill.db.database import Database
from labelmill.db.runs import Runs
from labelmill.sources.base import Format
from labelmill.sources.columns import ColumnOptions
from labelmill.sources.ids import row_id
from labelmill.sources.plan import Plan, absolute
from tests.support.rows import a_result

Submit = Callable[..., SubmitRun]


@pytest.fixture
def submit(redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Submit:
    """Submits as the command does."""
    monkeypatch.setenv("LABELMILL_BROKER_URL", redis_url)
    monkeypatch.setenv("LABELMILL_DATABASE_URL", database_url)

    def run(
        source: Path | None,
        id_column: str | None = None,
        progress: ViewKind = ViewKind.NONE,
        **changed: Any,
    ) -> SubmitRun:
        plan = None if source is None else Plan(sources=(absolute(str(source)),), form=Format())
        wanted: dict[str, Any] = {
            "model": "q" if source is not None else None,
            "plan": plan,
            "columns": ColumnOptions(id=id_column),
            "run": None,
            "resume": False,
            "accept_changes": False,
            "max_waiting": 100_000,
            "rejects": None,
            "wait": False,
            "as_json": True,
        }
        submit_run = SubmitRun(SubmitOptions(**(wanted | changed)), view_of(progress), print_line)
        submit_run.run()
        return submit_run

    return run


def table(folder: Path, rows: int, name: str = "a.csv") -> Path:
    file = folder / name
    file.write_text("id,text\n" + "".join(f"i{n},row {n}\n" for n in range(1, rows + 1)))
    return file


def waiting(broker: redis.Redis) -> list[str]:
    """The ids in the queue, oldest first."""
    return [message.decode(raw).id for raw in reversed(broker.lrange("q", 0, -1))]


def test_each_row_is_sent_once_under_an_id_of_its_own(
    submit: Submit, broker: redis.Redis, database: Database, tmp_path: Path
) -> None:
    file = table(tmp_path, 2500)
    first = submit(file, run="r")
    assert (first.progress.sent, first.progress.before) == (2500, 0)
    again = submit(file, run="r")
    assert (again.progress.sent, again.progress.before) == (0, 2500)
    resumed = submit(None, run="r", resume=True)
    assert (resumed.progress.sent, resumed.progress.before) == (0, 2500)
    newest = submit(file, resume=True)
    assert newest.progress.run == "r"
    assert waiting(broker) == [row_id("r", number) for number in range(1, 2501)]
    progress = database.runs.progress("r")
    assert progress is not None
    assert progress.submitted == 2500


@pytest.mark.parametrize("how", ["inline", "upload"])
@pytest.mark.usefixtures("submit")
def test_an_image_that_is_sent_keeps_its_files_name(
    database: Database,
    tmp_path: Path,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LABELMILL_UPLOAD_STORE", str(tmp_path / "uploads"))
    (tmp_path / "scan.png").write_bytes(b"an image")
    wanted: dict[str, Any] = {"inline": False, "upload": False} | {how: True}
    submit_one(
        "q", text=None, image=tmp_path / "scan.png", run=None, top_k=None, wait=False,
        as_json=False, **wanted,
    )  # fmt: skip
    job = database.jobs.get(capsys.readouterr().out.strip())
    assert job is not None
    image = job.payload["image"]
    assert isinstance(image, dict)
    assert image["name"] == "scan.png"
    assert set(image) == {"name", {"inline": "base64", "upload": "uri"}[how]}


def test_without_a_run_it_is_a_new_one(submit: Submit, tmp_path: Path) -> None:
    file = table(tmp_path, 2)
    assert submit(file).progress.run != submit(file).progress.run


class Killed(BaseException):
    """Stands for the end of the process at one point."""


@pytest.mark.parametrize("block", [1, 3])
def test_what_was_written_and_not_published_is_sent_by_resuming(
    submit: Submit,
    broker: redis.Redis,
    database: Database,
    tmp_path: Path,
    block: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = table(tmp_path, 4500)
    publish, calls = RunPublisher.publish, Counter[str]()

    def die(self: RunPublisher, *arguments: Any) -> None:
        calls["publish"] += 1
        if calls["publish"] == block:
            raise Killed
        publish(self, *arguments)

    monkeypatch.setattr(RunPublisher, "publish", die)
    with pytest.raises(Killed):
        submit(file, run="r")
    monkeypatch.setattr(RunPublisher, "publish", publish)
    assert len(waiting(broker)) == (block - 1) * 1000
    assert len(database.jobs.get_many([row_id("r", block * 1000)])) == 1

    resumed = submit(None, run="r", resume=True)
    assert resumed.progress.before == (block - 1) * 1000
    assert waiting(broker) == [row_id("r", number) for number in range(1, 4501)]


def test_what_the_reconciler_has_sent_is_not_sent_again(
    submit: Submit, broker: redis.Redis, database: Database, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    file = table(tmp_path, 10)

    def die(self: RunPublisher, *arguments: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunPublisher, "publish", die)
        with pytest.raises(Killed):
            submit(file, run="r")
    database.jobs.claim_unsent([row_id("r", 3)], datetime.now(UTC))
    submit(None, run="r", resume=True)
    assert row_id("r", 3) not in waiting(broker)
    assert len(waiting(broker)) == 9


def test_own_ids_hold_for_all_runs_and_within_one(
    submit: Submit, broker: redis.Redis, tmp_path: Path
) -> None:
    file = table(tmp_path, 3)
    file.write_text(file.read_text() + "i2,another\n")
    rejects = tmp_path / "rejects.jsonl"
    first = submit(file, "id", rejects=rejects)
    assert (first.progress.sent, first.progress.rejected) == (3, 1)
    [rejected] = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert (rejected["row"], rejected["line"], rejected["code"]) == (4, 5, "duplicate_id")
    second = submit(file, "id")
    assert (second.progress.sent, second.progress.before) == (0, 3)
    assert waiting(broker) == ["i1", "i2", "i3"]


def test_a_source_that_has_changed_is_told(
    submit: Submit, broker: redis.Redis, tmp_path: Path
) -> None:
    file = table(tmp_path, 3)
    submit(file, run="r")
    file.write_text(file.read_text() + "i4,row 4\n")
    with pytest.raises(ConfigurationError, match="has changed since run r began"):
        submit(None, run="r", resume=True)
    assert submit(None, run="r", resume=True, accept_changes=True).progress.sent == 1
    assert waiting(broker) == [row_id("r", number) for number in range(1, 5)]


def test_a_run_is_of_one_source(submit: Submit, tmp_path: Path) -> None:
    submit(table(tmp_path, 3), run="r")
    with pytest.raises(ConfigurationError, match="take another --run"):
        submit(table(tmp_path, 3, "b.csv"), run="r")


def test_a_failed_start_leaves_no_run(submit: Submit, database: Database, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("text\n")
    with pytest.raises(SourceError, match="nothing to submit"):
        submit(file)
    assert database.runs.newest() == []
    with pytest.raises(ConfigurationError, match="no run none"):
        submit(None, run="none", resume=True)


def test_only_one_process_submits_a_run(
    submit: Submit, broker: redis.Redis, redis_url: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    broker.set("labelmill:run:r:lock", "elsewhere:7", ex=60)
    monkeypatch.setattr("labelmill.bulk.checkpoint._LOCK_SECONDS", 0.1)
    with pytest.raises(ConfigurationError, match=r"another process \(elsewhere:7\)"):
        submit(table(tmp_path, 3), run="r")
    assert waiting(broker) == []


def test_a_lock_of_a_process_that_is_gone_is_taken(
    submit: Submit, broker: redis.Redis, tmp_path: Path
) -> None:
    broker.set("labelmill:run:r:lock", f"{socket.gethostname()}:{2**22 + 1}", ex=60)
    assert submit(table(tmp_path, 3), run="r").progress.sent == 3


def test_the_queue_stays_within_the_bound(submit: Submit, redis_url: str, tmp_path: Path) -> None:
    file, most = table(tmp_path, 3000), 0
    ended = threading.Event()
    taken: list[str] = []

    def drain() -> None:
        nonlocal most
        with redis.Redis.from_url(redis_url) as mine:
            while not ended.is_set() or mine.llen("q"):
                most = max(most, mine.llen("q"))
                taken.extend(message.decode(raw).id for raw in mine.rpop("q", 50) or [])

    worker = threading.Thread(target=drain)
    worker.start()
    submit_run = submit(file, run="r", max_waiting=500)
    ended.set()
    worker.join()
    assert submit_run.progress.sent == 3000
    assert taken == [row_id("r", number) for number in range(1, 3001)]
    assert most <= 500


def test_waiting_again_waits_for_jobs_of_other_runs(
    submit: Submit, database: Database, tmp_path: Path
) -> None:
    file = table(tmp_path, 3)
    submit(file, "id", run="r")
    done = threading.Event()

    def again() -> None:
        submit(file, "id", run="s", wait=True)
        done.set()

    thread = threading.Thread(target=again)
    thread.start()
    _finish(database, ["i1", "i2"], "r")
    assert not done.wait(0.5)
    _finish(database, ["i3"], "r")
    thread.join(30)
    assert done.is_set()


@pytest.mark.parametrize("answered", [False, True])
def test_redis_being_away_in_the_middle_ends_nothing_and_sends_nothing_twice(
    submit: Submit, broker: redis.Redis, tmp_path: Path, answered: bool,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    file = table(tmp_path, 2500)
    publish, calls = RunPublisher.publish, Counter[str]()

    def lose(self: RunPublisher, *arguments: Any) -> None:
        calls["publish"] += 1
        if calls["publish"] != 2:
            return publish(self, *arguments)
        if answered:  # and the answer is lost
            publish(self, *arguments)
        raise BrokerUnavailable("away")

    monkeypatch.setattr(RunPublisher, "publish", lose)
    submit_run = submit(file, run="r", progress=ViewKind.LINES)
    assert submit_run.progress.sent == 2500
    assert waiting(broker) == [row_id("r", number) for number in range(1, 2501)]
    assert "waiting: Redis does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("answered", [False, True])
def test_the_database_being_away_in_the_middle_ends_nothing_and_sends_nothing_twice(
    submit: Submit, broker: redis.Redis, database: Database, tmp_path: Path, answered: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    file = table(tmp_path, 2500)
    add_jobs, calls = Runs.add_jobs, Counter[str]()

    def lose(self: Runs, *arguments: Any) -> set[str]:
        calls["add"] += 1
        if calls["add"] != 2:
            return add_jobs(self, *arguments)
        if answered:
            add_jobs(self, *arguments)
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(Runs, "add_jobs", lose)
    submit_run = submit(file, run="r")
    assert (submit_run.progress.sent, submit_run.progress.rejected) == (2500, 0)
    assert waiting(broker) == [row_id("r", number) for number in range(1, 2501)]
    progress = database.runs.progress("r")
    assert progress is not None
    assert progress.submitted == 2500


def test_what_the_reconciler_has_sent_while_redis_was_away_is_not_sent_again(
    submit: Submit, broker: redis.Redis, database: Database, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    file = table(tmp_path, 10)
    publish, calls = RunPublisher.publish, Counter[str]()

    def lose(self: RunPublisher, *arguments: Any) -> None:
        calls["publish"] += 1
        if calls["publish"] > 1:
            return publish(self, *arguments)
        database.jobs.claim_unsent([row_id("r", 3)], datetime.now(UTC))
        raise BrokerUnavailable("away")

    monkeypatch.setattr(RunPublisher, "publish", lose)
    submit(file, run="r")
    assert row_id("r", 3) not in waiting(broker)
    assert len(waiting(broker)) == 9


def test_redis_being_away_for_long_ends_it_and_says_how_to_go_on(
    submit: Submit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def lose(self: RunPublisher, *arguments: Any) -> None:
        raise BrokerUnavailable("away")

    monkeypatch.setattr(RunPublisher, "publish", lose)
    monkeypatch.setattr("labelmill.bulk.submission.OUTAGE_SECONDS", 0.5)
    with pytest.raises(BrokerUnavailable):
        submit(table(tmp_path, 10), run="r")
    assert "labelmill submit --resume r" in capsys.readouterr().err


def test_a_lock_that_has_ended_meanwhile_is_taken_again_unless_somebody_was_there(
    broker: redis.Redis, redis_url: str
) -> None:
    with run_publisher(redis_url, "r") as publisher, publisher.held(print):
        broker.delete("labelmill:run:r:lock")
        publisher._renewed = float("-inf")
        publisher.renew()
        assert broker.exists("labelmill:run:r:lock")
        broker.delete("labelmill:run:r:lock")
        broker.hset("labelmill:run:r:published", mapping={"row": "7", "at": "2026-01-01"})
        publisher._renewed = float("-inf")
        with pytest.raises(ConfigurationError, match="taken over by another process"):
            publisher.renew()


def _finish(database: Database, ids: list[str], run: str) -> None:
    database.results.write([a_result(each, run_id=run, model="q") for each in ids])
