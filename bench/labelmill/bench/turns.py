"""Turns: sides that are measured one after the other, in an order that changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Timed(Generic[T]):
    """What came out, and how long it took."""

    value: T
    seconds: float


def timed(action: Callable[[], T]) -> Timed[T]:
    """Run it by the clock on the wall."""
    start = time.perf_counter()
    value = action()
    return Timed(value, time.perf_counter() - start)


def take_turns(sides: Mapping[str, Callable[[], T]], repeats: int) -> Iterator[dict[str, T]]:
    """Run all sides that often, and yield what each repeat gave.

    Every second repeat goes backwards, so that none is always the first on a rested machine.
    """
    for repeat in range(repeats):
        yield take_turn(sides, repeat)


def take_turn(sides: Mapping[str, Callable[[], T]], repeat: int) -> dict[str, T]:
    """Run all sides once: the repeat of that number."""
    order = list(sides)[:: 1 if repeat % 2 == 0 else -1]
    return {name: sides[name]() for name in order}
