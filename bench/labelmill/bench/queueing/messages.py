"""The texts of the jobs: sentences as a support desk gets them, about 80 characters each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

_OPENINGS = (
    "Hello, my order",
    "Good morning, the blue jacket that I bought",
    "I am writing because my last parcel",
    "The invoice that belongs to the subscription",
)
_EVENTS = (
    "has not arrived although the shop said Tuesday",
    "came with a crack in it, can you send another",
    "was charged twice to my card, please look at it",
    "is the best thing that I have had in years, thanks",
    "needs a new address since we have moved to Łódź",
)


def messages(number: int) -> list[str]:
    """That many texts, all different, the same ones every time."""
    return list(itertools.islice(_messages(), number))


def _messages() -> Iterator[str]:
    pairs = itertools.cycle(itertools.product(_OPENINGS, _EVENTS))
    for number, (opening, event) in enumerate(pairs):
        yield f"{opening} (no. {number}) {event}."
