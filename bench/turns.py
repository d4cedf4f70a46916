"""Turns: sides that are measured one after the other, in an order that changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

T = TypeVar("T")


def take_turns(sides: Mapping[str, Callable[[], T]], repeats: int) -> Iterator[dict[str, T]]:
    """Run all sides that often, and yield what each repeat gave.

    Every second repeat goes backwards, so that none is always the first on a rested machine.
    """
    for repeat in range(repeats):
        order = list(sides) if repeat % 2 == 0 else list(reversed(sides))
        yield {name: sides[name]() for name in order}


def seconds(action: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
