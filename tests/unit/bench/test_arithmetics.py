"""What is computed from what was measured, and the order of measuring."""

from __future__ import annotations

import pytest

from labelmill.bench.errors import BenchmarkError
from labelmill.bench.memory import growth
from labelmill.bench.peers import Answers, agreement, check_same, largest_difference
from labelmill.bench.sizing import suggested_group_size
from labelmill.bench.turns import take_turns


def answers(*scores: float) -> Answers:
    """An answer for each score of the label ``a``, the best label first."""
    made: Answers = []
    for score in scores:
        pair = [{"label": "a", "score": score}, {"label": "b", "score": 1 - score}]
        made.append(sorted(pair, key=lambda each: -each["score"]))  # type: ignore[arg-type,return-value]
    return made


def test_sides_change_who_begins() -> None:
    order: list[str] = []
    sides = {name: lambda name=name: order.append(name) for name in ("ours", "theirs")}
    repeats = list(take_turns(sides, 3))
    assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert [set(each) for each in repeats] == [{"ours", "theirs"}] * 3


def test_growth_is_counted_from_a_fifth_of_the_way() -> None:
    points = [(0.0, 100.0), (10.0, 300.0), (20.0, 310.0), (50.0, 330.0), (100.0, 325.0)]
    assert growth(points) == 15.0


def test_the_smallest_group_that_is_fast_enough_is_suggested() -> None:
    assert suggested_group_size({16: 50.0, 64: 94.0, 128: 96.0, 256: 100.0}) == 128


def test_equal_answers_pass() -> None:
    check_same(answers(0.7, 0.2), answers(0.700001, 0.2))
    check_same(answers(0.500001), answers(0.499999))  # places changed within the tolerance


@pytest.mark.parametrize("theirs", [0.7001, 0.3])
def test_another_score_or_label_voids_the_measurement(theirs: float) -> None:
    with pytest.raises(BenchmarkError, match="input 1 is answered differently"):
        check_same(answers(0.9, 0.7), answers(0.9, theirs))


def test_how_far_answers_agree() -> None:
    assert agreement(answers(0.9, 0.8, 0.7, 0.4), answers(0.9, 0.8, 0.6, 0.6)) == 75.0
    assert largest_difference(answers(0.9, 0.5), answers(0.8, 0.45)) == pytest.approx(0.1)
