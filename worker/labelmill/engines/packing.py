"""Packing: which sequences share a forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum


class Layout(Enum):
    """How sequences lie in a forward pass."""

    PACKED = "end to end, without padding"
    PADDED = "side by side, padded to the longest"
    EQUAL = "side by side, all of one length"
    ALONE = "alone"


def pack(lengths: Sequence[int], budget: int, layout: Layout) -> list[list[int]]:
    """Sort sequences by length and cut them into packs that each fit the budget.

    Parameters:
        lengths: the length of each sequence, in tokens.
        budget: the most tokens of a pack, padding included. A sequence that is longer has a pack
            of its own.

    Returns:
        the indices of each pack, the longest sequence first; each index stands in exactly one.
    """
    packs: list[list[int]] = []
    longest = tokens = 0
    # Longest first: the largest pack shows at once whether the device's memory suffices.
    for index in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        length = lengths[index]
        tokens += length if layout is Layout.PACKED else longest
        may_share = layout is not Layout.ALONE and (layout is not Layout.EQUAL or length == longest)
        if packs and may_share and tokens <= budget:
            packs[-1].append(index)
        else:
            packs.append([index])
            longest = tokens = length
    return packs
