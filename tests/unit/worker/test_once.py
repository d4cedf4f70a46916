from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from labelmill.engines.dedupe import run_distinct


class Step:
    """A batched step that turns numbers into words and keeps what it was called with."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    def __call__(self, inputs: Sequence[int]) -> list[str]:
        self.calls.append(list(inputs))
        return [str(each) for each in inputs]


def test_equal_inputs_are_computed_once_in_the_order_in_which_they_came() -> None:
    step = Step()

    assert run_distinct(step, [3, 1, 3, 2, 1], [3, 1, 3, 2, 1]) == ["3", "1", "3", "2", "1"]
    assert step.calls == [[3, 1, 2]]


@given(st.lists(st.integers(0, 5)))
def test_every_input_has_its_own_answer(inputs: list[int]) -> None:
    assert run_distinct(Step(), inputs, inputs) == [str(each) for each in inputs]
