"""Packing: which sequences share a forward pass."""

from __future__ import annotations

from collections.abc import Sequence


def pack(lengths: Sequence[int], budget: int, *, padded: bool = True) -> list[list[int]]:
    """Sort sequences by length and cut them into packs, so that little of a pack is padding.

    Parameters:
        lengths: the length of each sequence, in tokens.
        budget: the most tokens of a pack, padding included (longest × how many). A sequence that
            is longer has a pack of its own.
        padded: whether sequences of different lengths may share a pack.

    Returns:
        the indices of each pack; each index stands in exactly one.
    """
    packs: list[list[int]] = []
    # Longest first: the largest pack shows at once whether the device's memory suffices.
    for index in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        longest = lengths[packs[-1][0]] if packs else 0
        fits = packs and longest * (len(packs[-1]) + 1) <= budget
        if fits and (padded or lengths[index] == longest):
            packs[-1].append(index)
        else:
            packs.append([index])
    return packs
