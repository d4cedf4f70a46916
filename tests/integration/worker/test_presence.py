"""A worker's name on a real Redis: whose heartbeat keeps it from another, and whose does not."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from redis import Redis

from labelmill.broker.heartbeat import heartbeat_key, heartbeat_of, pid_space
from labelmill.worker import presence
from labelmill.worker.presence import NameTaken, Presence
from labelmill.worker.settings import WorkerSettings

NAME = "gpu0@here"


@pytest.fixture
def settings(redis_url: str) -> WorkerSettings:
    return WorkerSettings(broker_url=redis_url)


@pytest.fixture(autouse=True)
def watched_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "_WATCH_SECONDS", 1.0)


def leave_heartbeat(broker: Redis, **fields: Any) -> None:
    """A heartbeat as one that was killed leaves it, for half a minute."""
    beat = {"worker": NAME, "models": ["topics"], "pid": 1, **fields}
    broker.set(heartbeat_key(NAME), json.dumps(beat), px=30_000)


@contextmanager
def renewing(broker: Redis) -> Iterator[None]:
    """Somebody renews it."""
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(0.3):
            broker.pexpire(heartbeat_key(NAME), 30_000)

    thread = threading.Thread(target=renew)
    thread.start()
    yield
    ended.set()
    thread.join()


def a_dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_predecessor_whose_process_is_gone_is_not_waited_for(
    broker: Redis, settings: WorkerSettings
) -> None:
    leave_heartbeat(broker, pid=a_dead_pid(), pid_space=pid_space())
    before = time.monotonic()
    with closing(Presence.claim([NAME], settings)):
        assert time.monotonic() - before < 0.5
        beat = heartbeat_of(broker, NAME)
        assert beat is not None
        assert (beat["pid"], beat["state"]) == (os.getpid(), "loading")
    assert heartbeat_of(broker, NAME) is None


@pytest.mark.parametrize(
    "left",
    [
        {"pid": 1, "pid_space": "another machine"},
        {"pid": os.getpid(), "pid_space": pid_space()},
        {"pid": 1},
    ],
    ids=["another container or machine", "process 1 both times", "an older version's"],
)
def test_elsewhere_it_is_seen_whether_the_heartbeat_is_renewed(
    broker: Redis, settings: WorkerSettings, left: dict[str, Any]
) -> None:
    leave_heartbeat(broker, **left)
    with renewing(broker), pytest.raises(NameTaken, match=f"{NAME} lives already"):
        Presence.claim([NAME], settings)
    Presence.claim([NAME], settings).close()


def test_of_two_that_start_at_once_one_has_the_name(
    broker: Redis, settings: WorkerSettings
) -> None:
    with closing(Presence.claim([NAME, "b@here"], settings)) as first:
        beat = heartbeat_of(broker, NAME)
        assert beat is not None
        # As that of another process, which it is in life.
        first.heartbeat.write({**beat, "pid": 1, "pid_space": "another machine"})
        with renewing(broker), closing(Presence.claim([NAME, "b@here"], settings)) as second:
            assert (first.name, second.name) == (NAME, "b@here")
        assert not first.heartbeat.claim(b"what was there before")


def test_a_presence_that_was_handed_over_leaves_the_heartbeat_alone(
    broker: Redis, settings: WorkerSettings
) -> None:
    claimed = Presence.claim([NAME], settings)
    claimed.hand_over()
    claimed.close()
    assert heartbeat_of(broker, NAME) is not None


def test_a_predecessor_that_is_stopping_is_waited_for(
    broker: Redis, settings: WorkerSettings
) -> None:
    leave_heartbeat(broker, pid_space="another machine", state="stopping")
    with renewing(broker):
        with pytest.raises(NameTaken):
            Presence.claim([NAME], settings, patience=0)
        ending = threading.Timer(1.0, broker.delete, [heartbeat_key(NAME)])
        ending.start()
        with closing(Presence.claim([NAME], settings)):
            assert not ending.is_alive()
