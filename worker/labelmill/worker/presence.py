"""The presence of a worker: its name, which no other has, and its heartbeat while it loads."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Self

import redis
from celery.utils.log import get_logger

from labelmill.broker.connection import open_broker, when_served
from labelmill.broker.heartbeat import Heartbeat, HeartbeatWriter, pid_space
from labelmill.core.closing import Closeable
from labelmill.core.errors import ConfigurationError
from labelmill.worker.settings import WorkerSettings

logger = get_logger(__name__)

_BEAT_SECONDS = 1.0
# Of a worker that lives elsewhere a beat comes each second, or somewhat later while it loads.
_WATCH_SECONDS = 4.0
_LOOK_SECONDS = 0.1
_STOPPING_SECONDS = 60.0


class NameTaken(ConfigurationError):
    """Another worker of this name lives."""


class Presence(Closeable):
    """Holds a name from now on, and says that its worker loads, until :meth:`hand_over`.

    Attributes:
        name: the worker's.
        heartbeat: to be written by whoever it is handed over to.
    """

    def __init__(self, name: str, broker: redis.Redis, heartbeat: HeartbeatWriter, lifetime: float):
        self.name = name
        self.heartbeat = heartbeat
        self._broker = broker
        self._pause = min(lifetime / 3, _BEAT_SECONDS)
        self._handed_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)
        self._thread.start()

    @classmethod
    def claim(
        cls,
        names: Iterable[str],
        settings: WorkerSettings,
        *,
        patience: float = _STOPPING_SECONDS,
    ) -> Self:
        """Take the first of these names that no living worker has.

        A Redis that loads, or is a replica for now, is waited for.

        A predecessor that was killed leaves its heartbeat behind: where its process is known to be
        gone nothing is waited for, and elsewhere its heartbeat is watched for some seconds.

        Parameters:
            patience: seconds for which a worker is waited for that is stopping.

        Raises:
            NameTaken: each is taken.
            BrokerUnavailable: Redis does not answer.
        """
        broker = open_broker(settings.broker_url, answer_seconds=settings.answer_seconds)
        taken = []
        for name in names:
            heartbeat = HeartbeatWriter(broker, name, settings.lease_seconds)
            if when_served(partial(_claimed, heartbeat, patience), _tell):
                return cls(name, broker, heartbeat, settings.lease_seconds)
            taken.append(name)
        raise NameTaken(
            f"a worker called {taken[-1]} lives already; give this one another name: --name "
            "NAME@%h (celery: -n)"
        )

    def loads(self, models: Iterable[str]) -> None:
        """Say at once which models it loads."""
        self.heartbeat.models = list(models)
        self._beat()

    def hand_over(self) -> None:
        """Write no more: another does."""
        self._handed_over.set()
        self._thread.join()

    def close(self) -> None:
        """Give the name up, unless it was handed over."""
        if not self._handed_over.is_set():
            self.hand_over()
            with suppress(redis.RedisError, OSError):
                self.heartbeat.remove()

    def _run(self) -> None:
        while not self._handed_over.wait(self._pause):
            self._beat()

    def _beat(self) -> None:
        with suppress(redis.RedisError, OSError):
            self.heartbeat.write(self.heartbeat.loading())


def _tell(why: str) -> None:
    logger.warning("%s; waiting", why)


def _claimed(heartbeat: HeartbeatWriter, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while True:
        raw = heartbeat.found()
        if raw is not None and _lives(heartbeat, found := json.loads(raw)):
            if found.get("state") != "stopping" or time.monotonic() > deadline:
                return False
        elif heartbeat.claim(raw):
            return True


def _lives(heartbeat: HeartbeatWriter, found: Heartbeat) -> bool:
    if _is_gone(found):
        return False
    before = heartbeat.milliseconds_left()
    deadline = time.monotonic() + _WATCH_SECONDS
    while before > 0 and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        left = heartbeat.milliseconds_left()
        if left > before:
            return True
        before = left
    return False


def _is_gone(found: Heartbeat) -> bool:
    """Whether the process of a heartbeat is known not to be there any more."""
    if found.get("pid_space") != pid_space() or found["pid"] == os.getpid():
        return False  # in a container, each may be process 1
    try:
        os.kill(found["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is there, and another account's
        return False
    return False
