"""The posts: places where one process each is kept running, as systemd or Kubernetes would."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import NamedTuple

from labelmill.core import exit_codes
from tests.support.worker import WorkerProcess, Workers

_KILLED = -signal.SIGKILL  # by us, or by a poisonous job


class End(NamedTuple):
    """A process that ended though nobody had asked for it, or did not though somebody had."""

    post: str
    exit_code: int
    reason: str


@dataclass(eq=False)
class Post:
    """One process, started again whenever it ends.

    Parameters:
        workers: of this post alone, which has its own ways to the servers.
        command: what runs there; ``labelmill worker`` if empty.

    Attributes:
        ends: those that nobody had asked for.
        refused_starts: how often it ended at once since a server was away: that is no fault of its.
    """

    name: str
    workers: Workers
    command: tuple[str, ...] = ()
    ends: list[End] = field(default_factory=list)
    refused_starts: int = 0

    def __post_init__(self) -> None:
        self.process = self._start()

    def look(self) -> None:
        """Start the process again if it has ended."""
        exit_code = self.process.process.poll()
        if exit_code is None:
            return
        if exit_code == exit_codes.UNAVAILABLE and not self.is_ready():
            self.refused_starts += 1
        elif exit_code != _KILLED and not self._end_is_asked_for:
            self.note_end(exit_code, _reason(self.process))
        self.process = self._start()

    def is_ready(self) -> bool:
        """Whether it has begun to work; for a worker."""
        return "ready." in self.process.text()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it still runs."""
        if self.process.process.poll() is None:
            self._end_is_asked_for = number in (signal.SIGTERM, signal.SIGKILL)
            self.process.process.send_signal(number)

    def note_end(self, exit_code: int, reason: str) -> None:
        """Remember an end that is not as it should be."""
        self.ends.append(End(self.process.name, exit_code, reason))

    def _start(self) -> WorkerProcess:
        self._end_is_asked_for = False
        return self.workers.start(*self.command, wait=False)


def _reason(process: WorkerProcess) -> str:
    """The line of the log that says most of why it ended."""
    lines = process.text().strip().splitlines() or [""]
    return next((line for line in lines if "CRITICAL" in line or "error:" in line), lines[-1])
