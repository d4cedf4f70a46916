from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from worker.engines.packing import pack

lengths = st.lists(st.integers(min_value=0, max_value=600), max_size=60)
budgets = st.integers(min_value=1, max_value=2000)


@given(lengths, budgets)
def test_every_sequence_is_in_exactly_one_pack(lengths: list[int], budget: int) -> None:
    packed = [index for pack in pack(lengths, budget) for index in pack]

    assert sorted(packed) == list(range(len(lengths)))


@given(lengths, budgets)
def test_a_pack_keeps_the_budget_with_its_padding_unless_it_is_of_one(
    lengths: list[int], budget: int
) -> None:
    for indices in pack(lengths, budget):
        longest = max(lengths[index] for index in indices)
        assert len(indices) == 1 or longest * len(indices) <= budget


@given(lengths, budgets)
def test_the_longest_come_first(lengths: list[int], budget: int) -> None:
    packed = [lengths[index] for pack in pack(lengths, budget) for index in pack]

    assert packed == sorted(lengths, reverse=True)


@given(lengths, budgets)
def test_a_pack_is_closed_only_when_the_next_sequence_does_not_fit(
    lengths: list[int], budget: int
) -> None:
    for full, _ in pairwise(pack(lengths, budget)):
        assert lengths[full[0]] * (len(full) + 1) > budget


def test_equal_lengths_keep_the_order_of_the_jobs() -> None:
    assert pack([3, 3, 3, 3], 6) == [[0, 1], [2, 3]]


def test_nothing_has_no_packs() -> None:
    assert pack([], 100) == []
