"""The metrics are scikit-learn's."""

from __future__ import annotations

import warnings
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from labelmill.export.metrics import ClassMetrics, metrics

LABELS = st.sampled_from(["a", "b", "c", "d"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=60))
def test_all_figures_are_those_of_scikit_learn(rows: list[tuple[str, str]]) -> None:
    truth, given_labels = zip(*rows, strict=True)
    ours = metrics(Counter(rows))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that were never given
        per_class = precision_recall_fscore_support(truth, given_labels, zero_division=0)
        macro, weighted = (
            precision_recall_fscore_support(truth, given_labels, average=average, zero_division=0)
            for average in ("macro", "weighted")
        )
    assert ours.accuracy == pytest.approx(accuracy_score(truth, given_labels))
    for label, *figures in zip(sorted({*truth, *given_labels}), *per_class, strict=True):
        assert list(_values(ours.classes[label])) == pytest.approx(figures)
    assert list(_values(ours.macro))[:3] == pytest.approx(macro[:3])
    assert list(_values(ours.weighted))[:3] == pytest.approx(weighted[:3])
    assert ours.macro.support == len(rows)


def test_of_nothing_they_are_zero() -> None:
    assert metrics({}).accuracy == 0
    assert metrics({}).macro == ClassMetrics(0, 0, 0, 0)


def _values(each: ClassMetrics) -> tuple[float, float, float, int]:
    return each.precision, each.recall, each.f1, each.support
