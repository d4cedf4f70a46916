"""The checkpoint: what of a run Redis has been given, written down together with it.

The ledger says which jobs there are, Redis up to which row they were published; both are exact at
any moment at which the submitting process may be killed. What is in the ledger and beyond that
row was never published.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from typing import NamedTuple, cast

import redis
from redis.lock import Lock

from labelmill.broker.connection import broker_errors, open_broker
from labelmill.broker.publisher import CheckpointHash, Publisher
from labelmill.core.errors import ConfigurationError
from labelmill.core.job import SubmittedJob

_LIFETIME_SECONDS = 30 * 24 * 3600
_LOCK_SECONDS = 15.0
_RENEW_SECONDS = 4.0
_PAUSE_SECONDS = 0.2


class RunCheckpoint(NamedTuple):
    """The last row that was published, and when it was enqueued; None where none was."""

    row: int = 0
    at: datetime | None = None


class RunPublisher:
    """Publishes the jobs of one run, of which only one process at a time may do so.

    Parameters:
        broker: a client with ``decode_responses`` off.

    Every method:

    Raises:
        BrokerUnavailable: Redis does not answer.
    """

    def __init__(self, broker: redis.Redis, publisher: Publisher, run: str) -> None:
        self._broker = broker
        self._publisher = publisher
        self._run = run
        self._key = f"labelmill:run:{run}:published"
        self._lock = Lock(broker, f"labelmill:run:{run}:lock", timeout=_LOCK_SECONDS)
        self._renewed = 0.0
        self._last = RunCheckpoint()

    @contextmanager
    def held(self, say: Callable[[str], None]) -> Iterator[None]:
        """Be the one that submits this run, for as long as the block lasts.

        Raises:
            ConfigurationError: another process does.
        """
        with broker_errors():
            self._acquire(say)
        self._last = self.checkpoint()
        try:
            yield
        finally:
            # Where that fails, the lock ends by itself.
            with suppress(redis.RedisError):
                self._lock.release()

    def renew(self) -> None:
        """Go on being the one; to be called every second or so.

        Raises:
            ConfigurationError: another process has become it.
        """
        if time.monotonic() - self._renewed < _RENEW_SECONDS:
            return
        with broker_errors():
            try:
                self._lock.reacquire()
            except redis.exceptions.LockError:
                # It ends by itself while Redis, or this process, is away.
                free = self._lock.acquire(blocking=False, token=_me())
                if free and self.checkpoint() in (self._last, RunCheckpoint()):
                    self._renewed = time.monotonic()
                    return
                raise ConfigurationError(
                    f"run {self._run} was taken over by another process; this one ends"
                ) from None
        self._renewed = time.monotonic()

    def checkpoint(self) -> RunCheckpoint:
        """What was published before."""
        with broker_errors():
            found = cast("dict[bytes, bytes]", self._broker.hgetall(self._key))
        if not found:
            return RunCheckpoint()
        return RunCheckpoint(int(found[b"row"]), datetime.fromisoformat(found[b"at"].decode()))

    def publish(self, jobs: Sequence[SubmittedJob], checkpoint: RunCheckpoint) -> None:
        """Publish jobs and say up to which row that is, both or neither.

        After a failure, :meth:`checkpoint` says which.
        """
        self._last = checkpoint
        at = checkpoint.at.isoformat() if checkpoint.at else ""
        fields = {"row": str(checkpoint.row), "at": at}
        self._publisher.publish(jobs, CheckpointHash(self._key, fields, _LIFETIME_SECONDS))

    def _acquire(self, say: Callable[[str], None]) -> None:
        give_up = time.monotonic() + 1.5 * _LOCK_SECONDS
        told = False
        while not self._lock.acquire(blocking=False, token=_me()):
            holder = (cast("bytes | None", self._broker.get(self._lock.name)) or b"").decode()
            if _is_gone(holder):
                self._broker.delete(self._lock.name)
                continue
            if time.monotonic() > give_up:
                raise ConfigurationError(
                    f"run {self._run} is being submitted by another process ({holder}); "
                    "wait until that ends"
                )
            if not told:
                say(f"another process ({holder}) submits this run: waiting for it to end")
                told = True
            time.sleep(_PAUSE_SECONDS)
        self._renewed = time.monotonic()


@contextmanager
def run_publisher(broker_url: str, run: str) -> Iterator[RunPublisher]:
    """A publisher of a run with connections of its own."""
    with open_broker(broker_url) as broker, closing(Publisher(broker_url)) as publisher:
        yield RunPublisher(broker, publisher, run)


def _me() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _is_gone(holder: str) -> bool:
    """Whether a process of this machine, which had the lock, has ended."""
    host, _, pid = holder.rpartition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return int(pid) == os.getpid()
