from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from labelmill.engines.packing import Layout, pack

lengths = st.lists(st.integers(min_value=0, max_value=600), max_size=60)
budgets = st.integers(min_value=1, max_value=2000)
layouts = st.sampled_from(Layout)


def cost(lengths: list[int], layout: Layout) -> int:
    """How many tokens a pack of these lengths takes."""
    return sum(lengths) if layout is Layout.PACKED else max(lengths) * len(lengths)


@given(lengths, budgets, layouts)
def test_every_sequence_is_in_exactly_one_pack(
    lengths: list[int], budget: int, layout: Layout
) -> None:
    packed = [index for pack in pack(lengths, budget, layout) for index in pack]

    assert sorted(packed) == list(range(len(lengths)))


@given(lengths, budgets, layouts)
def test_a_pack_keeps_the_budget_with_its_padding_unless_it_is_of_one(
    lengths: list[int], budget: int, layout: Layout
) -> None:
    for indices in pack(lengths, budget, layout):
        chosen = [lengths[index] for index in indices]
        assert len(indices) == 1 or cost(chosen, layout) <= budget


@given(lengths, budgets, layouts)
def test_the_longest_come_first(lengths: list[int], budget: int, layout: Layout) -> None:
    packed = [lengths[index] for pack in pack(lengths, budget, layout) for index in pack]

    assert packed == sorted(lengths, reverse=True)


@given(lengths, budgets, st.sampled_from([Layout.PACKED, Layout.PADDED]))
def test_a_pack_is_closed_only_when_the_next_sequence_does_not_fit(
    lengths: list[int], budget: int, layout: Layout
) -> None:
    for full, following in pairwise(pack(lengths, budget, layout)):
        assert cost([lengths[index] for index in [*full, following[0]]], layout) > budget


@given(lengths, budgets)
def test_equal_layout_mixes_no_lengths(lengths: list[int], budget: int) -> None:
    for indices in pack(lengths, budget, Layout.EQUAL):
        assert len({lengths[index] for index in indices}) == 1


@given(lengths, budgets)
def test_alone_is_alone(lengths: list[int], budget: int) -> None:
    assert all(len(indices) == 1 for indices in pack(lengths, budget, Layout.ALONE))


def test_equal_lengths_keep_the_order_of_the_jobs() -> None:
    assert pack([3, 3, 3, 3], 6, Layout.PADDED) == [[0, 1], [2, 3]]


def test_nothing_has_no_packs() -> None:
    assert pack([], 100, Layout.PACKED) == []
