"""Waiting on conditions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


# Until then something is broken, and not slow: the machine may have a lot else to do.
PATIENCE_S = 150.0


def wait_for(condition: Callable[[], T], timeout: float = PATIENCE_S) -> T:
    """Return the first true value of the condition; fail if there is none in time."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {condition}")
        time.sleep(0.01)
    return value
