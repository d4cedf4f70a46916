from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PretrainedConfig

from labelmill.core.errors import ErrorCode, JobError
from labelmill.core.result import LabelScore
from labelmill.engines.labels import LabelDecoder, Logits

NAN, INF = float("nan"), float("inf")

logits = st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3)


def decoder(labels: int = 3, problem_type: str | None = None) -> LabelDecoder:
    """A decoder of labels a, b, c, …"""
    names = {index: chr(ord("a") + index) for index in range(labels)}
    return LabelDecoder(PretrainedConfig(id2label=names, problem_type=problem_type))


def rows(*values: list[float]) -> list[Logits]:
    """The logits of some jobs."""
    return [np.array(each, dtype=np.float32) for each in values]


def decode(decoder: LabelDecoder, *values: list[float], top_k: int = 9) -> list[Any]:
    """The answers for some jobs, each a list of pairs or an error."""
    return [
        answer if isinstance(answer, JobError) else [(s["label"], s["score"]) for s in answer]
        for answer in decoder.decode(rows(*values), [top_k] * len(values))
    ]


def scores(answer: list[LabelScore] | JobError) -> list[float]:
    """The scores of an answer."""
    assert not isinstance(answer, JobError)
    return [each["score"] for each in answer]


def test_several_classes_have_a_softmax() -> None:
    [answer] = decode(decoder(), [0.0, np.log(2), np.log(5)])

    assert [label for label, _ in answer] == ["c", "b", "a"]
    assert [score for _, score in answer] == pytest.approx([5 / 8, 2 / 8, 1 / 8])


def test_several_labels_have_a_sigmoid_each() -> None:
    [answer] = decode(decoder(problem_type="multi_label_classification"), [0.0, np.log(3), -90.0])

    assert [label for label, _ in answer] == ["b", "a", "c"]
    assert [score for _, score in answer] == pytest.approx([0.75, 0.5, 0.0])


def test_a_single_label_has_a_sigmoid() -> None:
    assert decode(decoder(labels=1), [0.0]) == [[("a", 0.5)]]


def test_a_regression_has_its_values() -> None:
    [answer] = decode(decoder(problem_type="regression"), [-1.5, 7.25, 0.0])

    assert answer == [("b", 7.25), ("c", 0.0), ("a", -1.5)]


@given(logits)
def test_a_softmax_sums_to_one_however_large_the_logits(values: list[float]) -> None:
    [answer] = decoder().decode(rows(values), [3])

    assert sum(scores(answer)) == pytest.approx(1, abs=1e-5)


@given(logits)
def test_a_sigmoid_is_between_zero_and_one_however_large_the_logits(values: list[float]) -> None:
    [answer] = decoder(problem_type="multi_label_classification").decode(rows(values), [3])

    assert all(0 <= score <= 1 for score in scores(answer))


@given(logits)
def test_the_best_comes_first(values: list[float]) -> None:
    [answer] = decoder().decode(rows(values), [3])

    assert scores(answer) == sorted(scores(answer), reverse=True)


def test_equal_scores_keep_the_order_of_the_labels() -> None:
    [answer] = decode(decoder(labels=5), [1.0, 2.0, 1.0, 2.0, 1.0])

    assert [label for label, _ in answer] == ["b", "d", "a", "c", "e"]


def test_each_job_keeps_as_many_labels_as_it_asked_for() -> None:
    group = decoder().decode(rows([1, 2, 3], [3, 2, 1], [2, 3, 1]), [1, 2, 9])

    assert [len(scores(answer)) for answer in group] == [1, 2, 3]


@pytest.mark.parametrize(
    "problem_type", ["single_label_classification", "multi_label_classification", "regression"]
)
@pytest.mark.parametrize("bad", [[NAN, 0, 0], [0, NAN, 1], [NAN, NAN, NAN]], ids=str)
def test_a_job_without_finite_scores_fails_alone(bad: list[float], problem_type: str) -> None:
    good = [3.0, 2.0, 1.0]

    first, failed, last = decode(decoder(problem_type=problem_type), good, bad, good)

    assert isinstance(failed, JobError)
    assert failed.code == ErrorCode.NON_FINITE
    assert first == last == decode(decoder(problem_type=problem_type), good)[0]


@pytest.mark.parametrize("bad", [[INF, 0, 0], [INF, INF, 0], [-INF, -INF, -INF]], ids=str)
def test_infinite_logits_of_a_softmax_fail(bad: list[float]) -> None:
    [failed] = decode(decoder(), bad)

    assert isinstance(failed, JobError)
    assert failed.code == ErrorCode.NON_FINITE


def test_a_class_that_a_model_rules_out_has_the_score_zero() -> None:
    assert decode(decoder(), [0.0, -INF, -INF]) == [[("a", 1.0), ("b", 0.0), ("c", 0.0)]]


def test_infinite_values_of_a_regression_fail() -> None:
    [failed] = decode(decoder(problem_type="regression"), [INF, 0.0, 0.0])

    assert isinstance(failed, JobError)


def test_scores_are_numbers_that_json_can_write() -> None:
    [answer] = decoder().decode(rows([1, 2, 3]), [3])

    assert all(type(score) is float for score in scores(answer))
