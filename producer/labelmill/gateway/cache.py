"""Cached values: what many requests ask for at the same time is looked up once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Cached(Generic[T]):
    """A value that is loaded again when it is asked for and too old.

    Those who ask while it is being loaded get the same value or the same error, so that nobody
    waits longer than one load takes. A failure counts for as long as a value does.

    Parameters:
        load: loads it.
        seconds: how old it may be.
        times: how old it may be at least, as a multiple of the time that loading it took.
    """

    def __init__(
        self, load: Callable[[], Awaitable[T]], seconds: float, times: float = 0.0
    ) -> None:
        self._load = load
        self._seconds = seconds
        self._times = times
        self._began_at = 0.0
        self._loading: asyncio.Future[T] | None = None
        self._loaded_at = 0.0
        self._last: T | None = None

    @property
    def last(self) -> T | None:
        """The last one that was loaded, however old; None before the first."""
        return self._last

    async def get(self) -> T:
        """The value.

        Raises:
            Exception: what loading it raised.
        """
        return await asyncio.shield(self._current())

    async def get_or_last(self, patience: float) -> T:
        """The value, or the last one where loading fails, or takes longer than some seconds.

        Raises:
            Exception: what loading it raised, where there was no value before.
        """
        loading = self._current()
        if self._last is None:
            return await asyncio.shield(loading)
        await asyncio.wait([loading], timeout=patience)
        if loading.done() and loading.exception() is None:
            return loading.result()
        return self._last

    def _current(self) -> asyncio.Future[T]:
        loading = self._loading
        if loading is None or (loading.done() and self._is_old()):
            self._began_at = time.monotonic()
            loading = self._loading = asyncio.ensure_future(self._load())
            loading.add_done_callback(self._keep)
        return loading

    def _is_old(self) -> bool:
        took = self._loaded_at - self._began_at
        return time.monotonic() - self._loaded_at > max(self._seconds, self._times * took)

    def _keep(self, loaded: asyncio.Future[T]) -> None:
        self._loaded_at = time.monotonic()
        if not loaded.cancelled() and loaded.exception() is None:
            self._last = loaded.result()
