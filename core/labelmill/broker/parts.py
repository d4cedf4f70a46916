"""Parts: a long list is looked through some messages at a time, so that nobody waits for long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

_FIRST_PART = 16  # messages; more while they are small
_LARGEST_PART = 1000
_BYTES_A_PART = 1024 * 1024

_Found = TypeVar("_Found")


def parts(look: Callable[[int, int], tuple[int, int, _Found]]) -> Iterator[_Found]:
    """What was found in each part of a list, from the end where new messages are pushed.

    So those that are taken at the other end move none, and those that are pushed move what is still
    to come into the next part.

    Parameters:
        look: looks through some, from an index on; returns how many there were, of how many bytes,
            and what was found.
    """
    start, size = 0, _FIRST_PART
    while True:
        count, total, found = look(start, size)
        yield found
        if count < size:
            return
        start += count
        size = max(1, min(_LARGEST_PART, 4 * size, _BYTES_A_PART * count // max(total, 1)))
