"""The watch: how long nothing went on, though there was something to do and no fault in force."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import redis
from sqlalchemy.exc import SQLAlchemyError

from labelmill.broker.queues import QueueKeys
from tests.soak.producers import Producer
from tests.soak.site import GROUP_SIZE, Site

_EVERY_S = 0.5
_FOR_ALL = 20 * GROUP_SIZE  # so many wait that no worker has a reason to rest
_FLOOD = 2000


@dataclass(slots=True)
class Silence:
    """How long somebody has done nothing in calm times: now, and at most."""

    now: float = 0.0
    longest: float = 0.0
    after: str = ""

    def add(self, seconds: float, after: str) -> None:
        """It lasts."""
        self.now += seconds
        if self.now > self.longest:
            self.longest, self.after = self.now, after

    def end(self) -> None:
        """Something was done."""
        self.now = 0.0


@dataclass
class Watch:
    """Looks, in a thread of its own, who does something.

    Parameters:
        in_force: the names of the faults that are in force.
        last: the names of those that were last over.

    Attributes:
        silences: by who was silent: everything, a worker, a producer.
        longest_pause: seconds without any row at most while jobs waited, faults or not.
        most_spare: entries that waited in Redis at most beyond the jobs that had no row.
    """

    site: Site
    producers: Sequence[Producer]
    in_force: Callable[[], Sequence[str]]
    last: Callable[[], Sequence[str]]
    silences: dict[str, Silence] = field(default_factory=dict)
    longest_pause: float = 0.0
    most_spare: int = 0

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._rows = 0
        self._pause_began = self._looked = time.monotonic()
        self._thread.start()

    @property
    def floods(self) -> bool:
        """Whether far more was sent than there was to do."""
        return self.most_spare > _FLOOD

    def stop(self) -> None:
        """Look no longer."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_EVERY_S):
            try:
                self._look()
            except (SQLAlchemyError, redis.RedisError, OSError):
                self._looked = time.monotonic()  # a server is away: that is no calm time

    def _look(self) -> None:
        asked = time.time() - 2 * _EVERY_S
        rows = self.site.audit.rows()
        writers = self.site.audit.writers(asked)
        with self.site.broker() as broker:
            waiting = sum(broker.llen(each) for each in QueueKeys("scripted").lists)
        outstanding = self.site.submissions.outstanding(rows)
        now = time.monotonic()
        passed, self._looked = now - self._looked, now
        calm = 0.0 if self.in_force() else passed
        self._note("any row", calm, busy=rows > self._rows or not outstanding)
        for post in self.site.workers:
            busy = post.process.name in writers or waiting < _FOR_ALL
            self._note(post.name, calm, busy=busy)
        for producer in self.producers:
            busy = now - producer.last_success < 2 * _EVERY_S or not producer.is_alive()
            self._note(producer.name, calm, busy=busy)
        if rows > self._rows or not outstanding:
            self._pause_began = now
        self._rows = rows
        self.longest_pause = max(self.longest_pause, now - self._pause_began)
        self.most_spare = max(self.most_spare, waiting - outstanding)

    def _note(self, who: str, calm: float, *, busy: bool) -> None:
        silence = self.silences.setdefault(who, Silence())
        if busy:
            silence.end()
        else:
            silence.add(calm, ", ".join(self.last()))
