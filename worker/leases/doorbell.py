"""The doorbell: an idle worker's wait for a job, without polling and without taking one.

``BLMOVE q q RIGHT RIGHT t`` blocks until the list has an entry and then moves its last entry onto
its own place: a blocking peek. One is kept pending on each list, a connection each, since Redis has
no blocking peek over several lists.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import redis.asyncio

_PEEK_SECONDS = 30  # how long one blocking peek lasts; only bounds what a dead client leaves behind


class Doorbell:
    """Waits for any of some lists to have an entry. To be used by one thread, but for :meth:`ring`.

    Parameters:
        url: the Redis to wait on.
    """

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._broker = redis.asyncio.Redis.from_url(url, socket_timeout=_PEEK_SECONDS + 10)
        self._peeks: dict[str, asyncio.Task[bytes | None]] = {}
        self._rung = asyncio.Event()

    def wait(self, lists: Iterable[str], timeout: float) -> None:
        """Return once one of the lists has an entry, :meth:`ring` was called, or ``timeout`` is up.

        It may return early: a peek that was pending while the worker was busy answers at once.

        Parameters:
            lists: the names of the lists.
            timeout: in seconds.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        self._loop.run_until_complete(self._wait(list(lists), timeout))

    def ring(self) -> None:
        """End a :meth:`wait` under way, or the next one; from any thread."""
        self._loop.call_soon_threadsafe(self._rung.set)

    def close(self) -> None:
        """Give up the connections."""
        self._loop.run_until_complete(self._cancel_peeks())
        self._loop.run_until_complete(self._broker.aclose())
        self._loop.close()

    async def _wait(self, lists: list[str], timeout: float) -> None:
        for name in lists:
            if name not in self._peeks:
                self._peeks[name] = asyncio.ensure_future(self._peek(name))
        rung = asyncio.ensure_future(self._rung.wait())
        await asyncio.wait(
            [rung, *(self._peeks[name] for name in lists)],
            timeout=timeout,
            return_when=asyncio.FIRST_COMPLETED,
        )
        rung.cancel()
        self._rung.clear()
        answered = [name for name, peek in self._peeks.items() if peek.done()]
        errors = [self._peeks.pop(name).exception() for name in answered]
        for error in errors:
            if error is not None:
                raise error

    async def _cancel_peeks(self) -> None:
        peeks = set(self._peeks.values())
        while peeks:
            # A cancellation that meets a connection being made is swallowed by redis-py.
            for peek in peeks:
                peek.cancel()
            done, peeks = await asyncio.wait(peeks, timeout=0.1)
            for peek in done:
                if not peek.cancelled():
                    peek.exception()  # it was of no use any more

    async def _peek(self, name: str) -> bytes | None:
        answer = await self._broker.blmove(name, name, _PEEK_SECONDS, "RIGHT", "RIGHT")
        return answer if isinstance(answer, bytes) else None
