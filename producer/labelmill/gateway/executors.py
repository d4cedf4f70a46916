"""Executors: where the calls to Redis and the database wait, so that no request does for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Executor:
    """A few threads for the calls to one service.

    A call that does not return in time is left to itself: its thread is missed until it does. With
    all of them missed, callers are told within the same time; and when the service answers again,
    so do the threads.

    Parameters:
        count: how many calls at the same time.
        seconds: how long a caller waits, for a thread and for its call together.
        unavailable: what to raise then.
    """

    def __init__(
        self, name: str, count: int, seconds: float, unavailable: Callable[[str], Exception]
    ) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._free = asyncio.Semaphore(count)
        self._seconds = seconds
        self._unavailable = unavailable

    async def run(self, function: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> T:
        """Call the function in a thread.

        Raises:
            Exception: the service's, when its time is over; or what the function raises.
        """
        try:
            async with asyncio.timeout(self._seconds) as timeout:
                await self._free.acquire()
                future = self._pool.submit(function, *arguments, **options)
                future.add_done_callback(self._release_from(asyncio.get_running_loop()))
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            if timeout.expired():
                raise self._unavailable(f"no answer within {self._seconds:g} s") from error
            raise

    def close(self) -> None:
        """Start no more calls."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _release_from(self, loop: asyncio.AbstractEventLoop) -> Callable[[Future[T]], None]:
        def release(_future: Future[T]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._free.release)

        return release
