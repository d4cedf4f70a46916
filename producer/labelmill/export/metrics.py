"""Metrics of a classifier, out of its confusion matrix.

Written here, in forty lines that the tests hold against scikit-learn: scikit-learn itself would
bring scipy along, 150 MB for four sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """How well one label is given, from 0 to 1; 0 where nothing can be divided by.

    ``support`` is how many jobs have it for their truth.
    """

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """Metrics of all labels that are a truth or were given, and their means.

    ``macro`` counts each label the same, ``weighted`` by its support.
    """

    accuracy: float
    classes: dict[str, ClassMetrics]
    macro: ClassMetrics
    weighted: ClassMetrics


def metrics(pairs: Mapping[tuple[str, str], int]) -> Metrics:
    """The metrics of so many jobs of each pair of truth and given label."""
    labels = sorted({label for pair in pairs for label in pair})
    support = dict.fromkeys(labels, 0)
    given = dict.fromkeys(labels, 0)
    right = dict.fromkeys(labels, 0)
    for (truth, label), count in pairs.items():
        support[truth] += count
        given[label] += count
        if truth == label:
            right[label] += count
    classes = {label: _class(right[label], given[label], support[label]) for label in labels}
    total = sum(support.values())
    return Metrics(
        accuracy=_ratio(sum(right.values()), total),
        classes=classes,
        macro=_mean(classes, dict.fromkeys(labels, 1), total),
        weighted=_mean(classes, support, total),
    )


def _class(right: int, given: int, support: int) -> ClassMetrics:
    return ClassMetrics(
        precision=_ratio(right, given),
        recall=_ratio(right, support),
        f1=_ratio(2 * right, given + support),
        support=support,
    )


def _mean(
    classes: Mapping[str, ClassMetrics], weights: Mapping[str, int], support: int
) -> ClassMetrics:
    weight = sum(weights.values())

    def mean(name: str) -> float:
        parts = (getattr(classes[label], name) * weights[label] for label in classes)
        return _ratio(sum(parts), weight)

    return ClassMetrics(mean("precision"), mean("recall"), mean("f1"), support)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
