"""The time limit: it cuts repeats, never the first of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator


class TimeLimit:
    """Shares the time among the parts that are left; what one does not need, the later ones have.

    Parameters:
        repeats: the most of a measurement.
        parts: how many parts there are.
        seconds: for all parts together; None for any time.
        clock: in seconds.
    """

    def __init__(
        self,
        repeats: int,
        parts: int,
        seconds: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repeats = repeats
        self._parts = parts
        self._clock = clock
        self._end = float("inf") if seconds is None else clock() + seconds
        self._until = self._end

    def begin_part(self) -> None:
        """Give the next part its share."""
        now = self._clock()
        self._until = now + (self._end - now) / self._parts
        self._parts -= 1

    def repeats(self) -> Iterator[int]:
        """Numbers from 0 on: at least one, and no further one that would end too late."""
        took = 0.0
        for number in range(self._repeats):
            start = self._clock()
            if number and start + took > self._until:
                return
            yield number
            took = self._clock() - start
