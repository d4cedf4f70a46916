"""Fresh values: what many requests ask for at the same time is looked up once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Fresh(Generic[T]):
    """A value that is loaded again when it is asked for and too old.

    Parameters:
        load: loads it; what it raises, those who wait for it get.
        seconds: how old it may be.
    """

    def __init__(self, load: Callable[[], Awaitable[T]], seconds: float) -> None:
        self._load = load
        self._seconds = seconds
        self._lock = asyncio.Lock()
        self._value: tuple[float, T] | None = None

    async def get(self) -> T:
        """The value."""
        asked_at = time.monotonic()
        async with self._lock:
            # Loaded while we waited for the lock, it is as fresh as our own would have been.
            if self._value is None or self._value[0] < asked_at - self._seconds:
                self._value = (time.monotonic(), await self._load())
            return self._value[1]
