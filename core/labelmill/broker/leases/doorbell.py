"""The doorbell: an idle worker's wait for a job, without polling and without taking one.

``BLMOVE q q RIGHT RIGHT t`` blocks until the list has an entry and then moves its last entry onto
its own place: a blocking peek. One is kept pending on each list, a connection each, since Redis has
no blocking peek over several lists.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing.connection import wait as wait_readable
from typing import Any

import redis

from labelmill.broker.connection import ANSWER_SECONDS, BROKER_ERRORS, connection_pool

_REFUSED_SECONDS = 1.0  # for which a list that Redis refuses to peek at is not peeked at again
_PEEK_SECONDS = 30  # how long one blocking peek lasts; only bounds what a dead client leaves behind


class Doorbell:
    """Waits for any of some lists to have an entry. To be used by one thread, but for :meth:`ring`.

    Parameters:
        url: the Redis to wait on.

    Raises:
        ConfigurationError: it is no URL of a Redis.
    """

    def __init__(self, url: str) -> None:
        # It only makes the connections: each belongs to a list, and most are waiting.
        self._pool = connection_pool(url)
        self._connections: dict[str, Any] = {}
        self._overdue: dict[str, float] = {}  # by list: when its pending peek should have ended
        self._refused: dict[str, float] = {}  # by list: until when it is left alone
        self._ringer, self._rung = socket.socketpair()
        self._ringer.setblocking(False)
        self._rung.setblocking(False)

    def wait(self, lists: Iterable[str], timeout: float) -> bool:
        """Return once one of the lists has an entry, :meth:`ring` was called, or ``timeout`` is up.

        It may return early: a peek that was pending while the worker was busy answers at once.

        Returns whether a ring was all there was.

        Parameters:
            lists: the names of the lists.
            timeout: in seconds.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        try:
            return self._wait(lists, timeout)
        except BROKER_ERRORS:
            # What ended one connection has most likely ended all: each would raise in its turn.
            self._disconnect()
            raise

    def ring(self) -> None:
        """End a :meth:`wait` under way, or the next one; from any thread."""
        # Where the buffer is full it has been rung, and where it is closed nobody waits.
        with suppress(OSError):
            self._ringer.send(b"\0")

    def close(self) -> None:
        """Give up the connections."""
        self._disconnect()
        self._ringer.close()
        self._rung.close()

    def _wait(self, lists: Iterable[str], timeout: float) -> bool:
        now = time.monotonic()
        heard = [name for name in lists if self._refused.get(name, now) <= now]
        names = {self._socket_of_peek(name): name for name in heard}
        ready = wait_readable([self._rung, *names], timeout)
        if self._rung in ready:
            with suppress(BlockingIOError):
                while self._rung.recv(1024):
                    pass
        for each, name in names.items():
            if each in ready:
                self._read_answer(name)
            elif time.monotonic() > self._overdue[name]:
                raise redis.TimeoutError("a peek did not end in its time")
        return ready == [self._rung]

    def _socket_of_peek(self, name: str) -> socket.socket:
        """The socket on which the list's peek will answer; sends the peek unless it is pending."""
        if name not in self._connections:
            self._connections[name] = self._pool.make_connection()
        connection = self._connections[name]
        if name not in self._overdue:
            connection.send_command("BLMOVE", name, name, "RIGHT", "RIGHT", _PEEK_SECONDS)
            self._overdue[name] = time.monotonic() + _PEEK_SECONDS + ANSWER_SECONDS
        peeking: socket.socket = connection._sock  # redis-py has no other way to it
        return peeking

    def _read_answer(self, name: str) -> None:
        # Once this is read there is nothing more in any buffer: one command, one answer.
        del self._overdue[name]
        try:
            self._connections[name].read_response()
        except redis.ResponseError:
            # Whoever takes from the list is told why; and a new connection may lead elsewhere.
            self._connections.pop(name).disconnect()
            self._refused[name] = time.monotonic() + _REFUSED_SECONDS

    def _disconnect(self) -> None:
        for connection in self._connections.values():
            connection.disconnect()
        self._connections.clear()
        self._overdue.clear()
