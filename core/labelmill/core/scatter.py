"""Scattering: answers that came in parts, back in the order of what was asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def scatter(size: int, parts: Iterable[tuple[Sequence[int], Sequence[T]]]) -> list[T]:
    """A list of ``size`` values.

    Parameters:
        parts: places with their values; together they fill each place once.

    Raises:
        ValueError: a place is left empty, or a part has not as many values as places.
    """
    values: dict[int, T] = {}
    for places, some in parts:
        values.update(zip(places, some, strict=True))
    try:
        return [values[place] for place in range(size)]
    except KeyError as error:
        raise ValueError(f"nothing was given for place {error}") from None
