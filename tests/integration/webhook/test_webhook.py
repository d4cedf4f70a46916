"""The webhook: announcements from a real Redis to a real HTTP receiver."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis

from labelmill.broker import group
from labelmill.broker.announcements import STREAM, encode
from labelmill.broker.group import ConsumerGroup
from labelmill.core.errors import BrokerUnavailable, ConfigurationError
from labelmill.core.result import Result
from labelmill.db.database import Database
from labelmill.local.redis import RedisServer
from labelmill.webhook import delivery
from labelmill.webhook.delivery import Sender
from labelmill.webhook.settings import WebhookSettings
from labelmill.webhook.webhook import JobFilter, Webhook
from tests.support.receiver import SECRET, Receiver, receiver
from tests.support.rows import a_result
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[3]
EVERYTHING = JobFilter()
OLD_SECRET = "whsec_" + "QUJD" * 8


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as hook:
        yield hook


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(delivery, "_LONGEST_PAUSE_SECONDS", 0.1)


def settings(redis_url: str, hook_url: str, **more: object) -> WebhookSettings:
    values = {"broker_url": redis_url, "webhook_url": hook_url, "webhook_secret": SECRET, **more}
    return WebhookSettings(**values)  # type: ignore[arg-type]


@pytest.fixture
def start(redis_url: str, hook: Receiver) -> Iterator[Callable[..., Webhook]]:
    """Runs a webhook in a thread; it has joined when this returns."""
    with ExitStack() as stack:

        def start(chosen: JobFilter = EVERYTHING, **more: object) -> Webhook:
            stop = threading.Event()
            sender = Sender(settings(redis_url, hook.url, **more), stop)
            readers = ConsumerGroup(redis_url, "webhook")
            readers.join()
            webhook = Webhook(readers, sender, chosen, stop)
            thread = threading.Thread(target=webhook.run)
            thread.start()
            # Undone in the order from the last to the first.
            stack.callback(readers.close)
            stack.callback(sender.close)
            stack.callback(thread.join)
            stack.callback(stop.set)
            return webhook

        yield start


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labelmill.webhook.webhook._BLOCK_MS", 50)


def announce(broker: redis.Redis, *ids: str, model: str = "topics", run: str | None = None) -> None:
    """One entry, as a worker's acknowledgement writes it."""
    jobs = [
        {
            "id": each,
            "model": model,
            "run": run,
            "status": "succeeded",
            "label": "billing",
            "score": 0.75,
            "error_code": None,
        }
        for each in ids
    ]
    broker.xadd(STREAM, {"jobs": encode(jobs)})  # type: ignore[arg-type]


def settled(broker: redis.Redis) -> bool:
    """Whether nothing is in a reader's hands, nor to come."""
    [found] = broker.xinfo_groups(STREAM)
    newest = broker.xrevrange(STREAM, count=1)
    return found["pending"] == 0 and (not newest or found["last-delivered-id"] == newest[0][0])


def test_finished_jobs_are_posted_signed(
    broker: redis.Redis, hook: Receiver, start: Callable[..., Webhook]
) -> None:
    start(webhook_secret=f"{SECRET} {OLD_SECRET}")
    announce(broker, "a", "b")
    wait_for(lambda: hook.attempts)
    [attempt] = hook.attempts
    assert attempt.signed_with(SECRET)
    assert attempt.signed_with(OLD_SECRET)
    assert not attempt.signed_with("whsec_" + "WFla" * 8)
    assert attempt.headers["content-type"] == "application/json"
    body = json.loads(attempt.body)
    assert body["type"] == "jobs.finished"
    assert datetime.fromisoformat(body["timestamp"]).tzinfo
    assert body["data"]["jobs"][0] == {
        "id": "a",
        "model": "topics",
        "run": None,
        "status": "succeeded",
        "label": "billing",
        "score": 0.75,
        "error_code": None,
    }
    wait_for(lambda: settled(broker))


def test_what_is_refused_comes_again_the_same_and_in_order(
    broker: redis.Redis, hook: Receiver, start: Callable[..., Webhook]
) -> None:
    hook.answers = [(status, {}) for status in (500, 503, 429, 408, 404, 301)]
    start()
    announce(broker, "a")
    wait_for(lambda: hook.attempts)
    for number in range(20):
        announce(broker, f"b{number}")
    wait_for(lambda: len(hook.taken()) == 21)
    assert hook.taken() == ["a", *(f"b{number}" for number in range(20))]
    assert len({attempt.headers["webhook-id"] for attempt in hook.attempts[:7]}) == 1
    assert len({attempt.body for attempt in hook.attempts[:7]}) == 1
    assert all(attempt.signed_with(SECRET) for attempt in hook.attempts)


def test_the_receiver_says_how_long_to_wait(
    broker: redis.Redis,
    hook: Receiver,
    start: Callable[..., Webhook],
    caplog: pytest.LogCaptureFixture,
) -> None:
    hook.answers = [(429, {"Retry-After": "77"})]
    start()
    announce(broker, "a")
    wait_for(lambda: "attempt 1, the next in 77 s" in caplog.text)
    assert "hidden" not in caplog.text


def test_a_time_to_wait_for_that_is_none_is_left_aside(
    broker: redis.Redis, hook: Receiver, start: Callable[..., Webhook]
) -> None:
    hook.answers = [(503, {"Retry-After": "Fri, 31 Dec 99999999999 23:59:59 GMT"})]
    start()
    announce(broker, "a")
    wait_for(lambda: hook.taken() == ["a"])


def test_a_receiver_that_never_comes_to_an_end_is_cut_off(redis_url: str) -> None:
    def go_on(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):  # it is cut off
            while True:
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    answers = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=go_on, args=(listening,), daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        wanted = settings(redis_url, url, webhook_timeout=0.2, webhook_give_up=0)
        with closing(Sender(wanted, threading.Event())) as sender:
            sent = delivery.Delivery.of([])
            attempt = threading.Thread(
                target=lambda: answers.append(sender.deliver(sent)), daemon=True
            )
            attempt.start()
            attempt.join(20)
    [(outcome, failure)] = answers
    assert outcome is delivery.DeliveryOutcome.GIVEN_UP
    assert failure


def test_a_receiver_that_is_away_is_waited_for(
    broker: redis.Redis, redis_url: str, start: Callable[..., Webhook]
) -> None:
    with receiver() as gone:
        url = gone.url
    port = int(url.partition("//127.0.0.1:")[2].partition("/")[0])
    start(webhook_url=url)
    announce(broker, "a")
    wait_for(lambda: broker.xinfo_groups(STREAM)[0]["pending"] == 1)
    with receiver(port) as back:
        wait_for(lambda: back.taken() == ["a"])
        wait_for(lambda: settled(broker))


def test_what_is_given_up_can_be_seen(
    broker: redis.Redis,
    redis_url: str,
    hook: Receiver,
    start: Callable[..., Webhook],
    caplog: pytest.LogCaptureFixture,
) -> None:
    hook.answers = [(500, {})]
    webhook = start(webhook_give_up=0)
    announce(broker, "a")
    wait_for(lambda: webhook.given_up == 1)
    announce(broker, "b")
    wait_for(lambda: hook.taken() == ["b"])
    [given_up] = ConsumerGroup(redis_url, "webhook").given_up()
    assert (given_up["jobs"], given_up["reason"]) == (["a"], "status 500")
    assert "gave up 1 finished jobs (status 500)" in caplog.text


def test_only_what_was_asked_for_is_sent(
    broker: redis.Redis, hook: Receiver, start: Callable[..., Webhook]
) -> None:
    start(JobFilter(models=frozenset(["topics"]), runs=frozenset(["r1"])))
    announce(broker, "other model", model="digits", run="r1")
    announce(broker, "no run")
    announce(broker, "wanted", run="r1")
    wait_for(lambda: settled(broker) and hook.attempts)
    assert hook.taken() == ["wanted"]


def test_a_large_backlog_goes_in_deliveries_of_some_jobs(
    redis_url: str, broker: redis.Redis, hook: Receiver, start: Callable[..., Webhook]
) -> None:
    ConsumerGroup(redis_url, "webhook").join()
    ids = [f"job{number}" for number in range(3000)]
    for first in range(0, 3000, 100):
        announce(broker, *ids[first : first + 100])
    start()
    wait_for(lambda: len(hook.taken()) == 3000)
    assert hook.taken() == ids
    assert max(len(attempt.ids) for attempt in hook.attempts) == delivery.JOBS_A_DELIVERY


def test_two_deliverers_share_the_jobs(
    broker: redis.Redis, hook: Receiver, start: Callable[..., Webhook]
) -> None:
    hook.open.clear()
    start(), start()
    for number in range(40):
        announce(broker, str(number))
    wait_for(lambda: hook.waiting == 2)
    hook.open.set()
    wait_for(lambda: len(hook.taken()) == 40)
    assert sorted(hook.taken(), key=int) == [str(number) for number in range(40)]


def test_a_deliverer_at_work_keeps_its_entries(
    broker: redis.Redis,
    hook: Receiver,
    start: Callable[..., Webhook],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group, "_ABANDONED_MS", 300)
    monkeypatch.setattr(delivery, "_LOOK_AROUND_SECONDS", 0.02)
    hook.answers = [(429, {"Retry-After": "1"})]
    monkeypatch.setattr(delivery, "_FIRST_PAUSE_SECONDS", 1.0)
    start(), start()
    announce(broker, "a")
    wait_for(lambda: settled(broker) and hook.taken())
    assert [attempt.ids for attempt in hook.attempts] == [["a"], ["a"]]


def test_what_a_killed_deliverer_had_is_delivered_by_another(
    redis_url: str,
    broker: redis.Redis,
    hook: Receiver,
    start: Callable[..., Webhook],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hook.open.clear()
    ConsumerGroup(redis_url, "webhook").join()
    announce(broker, "a", "b")
    victim = run_command(redis_url, hook.url)
    wait_for(lambda: hook.waiting == 1)
    victim.kill()
    victim.wait()
    announce(broker, "c")
    monkeypatch.setattr(group, "_ABANDONED_MS", 100)
    hook.open.set()
    start()
    wait_for(lambda: "c" in hook.taken() and settled(broker))
    assert set(hook.taken()) == {"a", "b", "c"}


def test_the_command_stops_in_good_order_and_hands_over(
    redis_url: str,
    broker: redis.Redis,
    hook: Receiver,
    start: Callable[..., Webhook],
) -> None:
    """Right in the pause before its next attempt; the next one need not wait for a minute."""
    hook.answers = [(429, {"Retry-After": "60"})]
    ConsumerGroup(redis_url, "webhook").join()
    announce(broker, "a")
    process = run_command(redis_url, hook.url)
    wait_for(lambda: hook.attempts)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    start()
    wait_for(lambda: hook.taken() == ["a"])
    wait_for(lambda: settled(broker))


def run_command(redis_url: str, hook_url: str, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "labelmill", "webhook", *options],
        env=environment(redis_url, hook_url),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def environment(redis_url: str, hook_url: str) -> dict[str, str]:
    return os.environ | {
        "LABELMILL_BROKER_URL": redis_url,
        "LABELMILL_WEBHOOK_URL": hook_url,
        "LABELMILL_WEBHOOK_SECRET": SECRET,
    }


def test_what_the_stream_no_longer_holds_is_said(
    redis_url: str,
    broker: redis.Redis,
    hook: Receiver,
    start: Callable[..., Webhook],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both of what a dead deliverer had taken, and of what nobody has read yet."""
    monkeypatch.setattr(group, "_ABANDONED_MS", 1)
    died = ConsumerGroup(redis_url, "webhook")
    died.join()
    announce(broker, "taken and cut off")
    assert len(died.take(10)) == 1
    announce(broker, "cut off")
    announce(broker, "kept")
    broker.xtrim(STREAM, maxlen=1, approximate=False)
    start()
    wait_for(lambda: hook.taken() == ["kept"])
    wait_for(lambda: settled(broker))
    assert "1 groups were cut off the stream" in caplog.text
    assert "the stream was cut" in caplog.text
    assert caplog.text.count("--since") == 2


def test_a_redis_that_lost_its_data_is_read_from_its_beginning(
    broker: redis.Redis, hook: Receiver, start: Callable[..., Webhook]
) -> None:
    start()
    broker.flushall()
    announce(broker, "a")
    wait_for(lambda: hook.taken() == ["a"])


@pytest.mark.parametrize("again", [True, False])
def test_a_redis_that_loses_its_data_while_a_reader_joins(
    broker: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    readers = ConsumerGroup(redis_url, "webhook")
    create = readers._create

    def create_and_lose(beginning: str) -> None:
        create(beginning)
        monkeypatch.undo()
        broker.flushall()
        if again:
            announce(broker, "a")

    monkeypatch.setattr(readers, "_create", create_and_lose)
    readers.join()
    if not again:
        announce(broker, "a")
    assert readers.take(50) == []
    [(_, [job])] = readers.take(50)
    assert job["id"] == "a"
    readers.close()


def test_a_redis_that_goes_while_a_reader_joins_and_comes_back_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with RedisServer() as server:
        readers = ConsumerGroup(server.url, "webhook")
        create = readers._create

        def create_and_go(beginning: str) -> None:
            create(beginning)
            monkeypatch.undo()
            server.kill()

        monkeypatch.setattr(readers, "_create", create_and_go)
        with pytest.raises(BrokerUnavailable):
            readers.join()
        server.start()
        with redis.Redis.from_url(server.url) as broker:
            broker.flushall()  # what it had on its disk, too
            announce(broker, "a")
        readers.join()
        [(_, [job])] = readers.take(50)
        assert job["id"] == "a"
        readers.close()


@pytest.mark.parametrize("again", [True, False])
def test_a_redis_that_loses_its_data_while_a_reader_waits(
    broker: redis.Redis, redis_url: str, again: bool
) -> None:
    readers = ConsumerGroup(redis_url, "webhook")
    readers.join()
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(readers.take, 2000)
        wait_for(lambda: broker.info("clients")["blocked_clients"])  # type: ignore[index]
        broker.flushall()
        if again:
            announce(broker, "a")
        assert taken.result() == []
    assert [job["id"] for _, jobs in readers.take(50) for job in jobs] == (["a"] if again else [])
    readers.close()


def test_a_redis_that_goes_and_comes_back(hook: Receiver, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server:
        stop = threading.Event()
        sender = Sender(settings(server.url, hook.url), stop)
        readers = ConsumerGroup(server.url, "webhook")
        webhook = Webhook(readers, sender, JobFilter(), stop)
        readers.join()
        thread = threading.Thread(target=webhook.run)
        thread.start()
        server.restart()
        with redis.Redis.from_url(server.url) as broker:
            announce(broker, "a")
        wait_for(lambda: hook.taken() == ["a"])
        stop.set()
        thread.join()
        sender.close()
        readers.close()


def test_rows_since_a_time_are_sent_again(redis_url: str, sqlite_url: str, hook: Receiver) -> None:
    now = datetime.now(UTC)
    with Database.open(sqlite_url) as database:
        database.results.write([row(f"old{i}", now - timedelta(hours=3)) for i in range(3)])
        database.results.write([row(f"new{i}", now) for i in range(700)])
    since = (now - timedelta(hours=1)).isoformat()
    command = [sys.executable, "-m", "labelmill", "webhook", "--since", since]
    env = environment(redis_url, hook.url) | {"LABELMILL_DATABASE_URL": sqlite_url}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "700 jobs sent\n"
    assert sorted(hook.taken()) == sorted(f"new{i}" for i in range(700))
    assert all(attempt.signed_with(SECRET) for attempt in hook.attempts)


def row(job_id: str, at: datetime) -> Result:
    return a_result(job_id, label="billing", finished_at=at)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"webhook_url": None}, "LABELMILL_WEBHOOK_URL"),
        ({"webhook_url": "ftp://x"}, "LABELMILL_WEBHOOK_URL"),
        ({"webhook_secret": None}, "openssl"),
        ({"webhook_secret": f"{SECRET} short"}, "openssl"),
    ],
)
def test_what_cannot_be_used_is_said_at_once(more: dict[str, object], says: str) -> None:
    chosen = settings("redis://127.0.0.1:1", "http://127.0.0.1:1", **more)
    with pytest.raises(ConfigurationError, match=says):
        Sender(chosen, threading.Event())
    assert SECRET not in repr(chosen)
