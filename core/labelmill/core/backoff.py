"""Backing off: how long to wait before looking again."""

from __future__ import annotations

import time
from collections.abc import Iterator

_FIRST_SECONDS = 0.005
_GROWTH = 1.5


def polls(timeout: float | None, longest: float = 0.25) -> Iterator[None]:
    """Once for each look at something: at once, then after pauses that grow, until time is up.

    Parameters:
        timeout: in seconds; None for no end.
        longest: the longest pause, in seconds.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = _FIRST_SECONDS
    while True:
        yield
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return
        time.sleep(min(pause, longest) if left is None else min(pause, longest, left))
        pause *= _GROWTH
