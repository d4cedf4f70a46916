"""Deduplication: identical inputs are computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

Input = TypeVar("Input")
Output = TypeVar("Output")


def run_distinct(
    step: Callable[[Sequence[Input]], list[Output]],
    inputs: Sequence[Input],
    keys: Sequence[Hashable],
) -> list[Output]:
    """Run a batched step over the first input of each key.

    Parameters:
        keys: one for each input; inputs of one key are identical.

    Returns:
        the step's answer for each input; those of one key share theirs.
    """
    distinct: dict[Hashable, Input] = {}
    for key, each in zip(keys, inputs, strict=True):
        distinct.setdefault(key, each)
    answers = dict(zip(distinct, step(list(distinct.values())), strict=True))
    return [answers[key] for key in keys]
