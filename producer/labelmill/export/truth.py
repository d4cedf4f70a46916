"""Truth beside prediction: what is counted of a run whose rows say what is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from labelmill.core.errors import ConfigurationError
from labelmill.core.states import Status
from labelmill.db.records import Record
from labelmill.export.join import SourceRow
from labelmill.export.metrics import Metrics, metrics

MAX_TRUTHS = 1000
THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_BINS = 20


@dataclass(slots=True)
class TruthCounts:
    """Rows counted.

    Attributes:
        pairs: rows with a label, by their truth as it stands in the file, the label, and the
            twentieth of its score.
        failed: rows whose job failed, by their truth.
        missing: rows that have a truth and no result.
        without_truth: rows whose truth is empty, and rows that could not be read.
        known: labels that the model gave, first or further behind.
    """

    pairs: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    without_truth: int = 0
    known: set[str] = field(default_factory=set)


def count_truths(rows: Iterable[tuple[SourceRow, Record | None]], truth_place: int) -> TruthCounts:
    """Count the rows.

    Parameters:
        truth_place: of the truth's column among a row's values.

    Raises:
        ConfigurationError: the column has more than ``MAX_TRUTHS`` different values.
    """
    counted = TruthCounts()
    truths: set[str] = set()
    for row, record in rows:
        value = row.values[truth_place]
        truth = "" if value is None else str(value).strip()
        if not truth:
            counted.without_truth += 1
            continue
        truths.add(truth)
        if len(truths) > MAX_TRUTHS:
            raise ConfigurationError(
                f"the column of the truth has more than {MAX_TRUTHS:,} different values;"
                " is it the one with the labels?"
            )
        if record is None:
            counted.missing[truth] += 1
            continue
        result = record.result
        if result.status is Status.FAILED or result.label is None:
            counted.failed[truth] += 1
        else:
            score = min(max(int((result.score or 0.0) * _BINS), 0), _BINS)
            counted.pairs[truth, result.label, score] += 1
            counted.known.update(each["label"] for each in result.scores or ())
            counted.known.add(result.label)
    return counted


@dataclass(frozen=True, slots=True)
class Confidence:
    """How many labels have at least a score, and how many of them are right."""

    threshold: float
    kept: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good a run's labels are.

    Attributes:
        metrics: of the rows that have a label; failures and missing rows are not in them.
        pairs: how many rows have each pair of truth and label.
        accuracy_of_all: right labels of all rows with a truth: a failure or a missing result
            counts as wrong.
        coverage: the rows that have a label, of all with a truth.
        mapped: truths that stand for a label of another name, with that name.
        unknown: truths that the model has no label for, with their rows.
    """

    metrics: Metrics
    pairs: dict[tuple[str, str], int]
    answered: int
    failed: int
    missing: int
    without_truth: int
    accuracy_of_all: float
    coverage: float
    confidence: list[Confidence]
    mapped: dict[str, str]
    unknown: dict[str, int]


def evaluate(counted: TruthCounts, names: Mapping[str, str]) -> Evaluation:
    """Judge what was counted.

    Parameters:
        names: the label that a truth stands for, where it has another name.
    """
    truths = {truth for truth, _, _ in counted.pairs} | {*counted.failed, *counted.missing}
    label_of = {truth: _label(truth, counted.known, names) for truth in truths}
    pairs: Counter[tuple[str, str]] = Counter()
    by_score: Counter[tuple[int, bool]] = Counter()
    for (truth, label, score), count in counted.pairs.items():
        pairs[label_of[truth], label] += count
        by_score[score, label_of[truth] == label] += count
    answered, right = pairs.total(), sum(n for (a, b), n in pairs.items() if a == b)
    failed, missing = counted.failed.total(), counted.missing.total()
    rows = answered + failed + missing
    unknown: Counter[str] = Counter()
    for (truth, _label_given), count in pairs.items():
        if truth not in counted.known:
            unknown[truth] += count
    return Evaluation(
        metrics=metrics(pairs),
        pairs=dict(pairs),
        answered=answered,
        failed=failed,
        missing=missing,
        without_truth=counted.without_truth,
        accuracy_of_all=right / rows if rows else 0.0,
        coverage=answered / rows if rows else 0.0,
        confidence=[_confidence(by_score, each, answered) for each in THRESHOLDS],
        mapped={truth: label for truth, label in sorted(label_of.items()) if truth != label},
        unknown=dict(unknown.most_common()),
    )


def _label(truth: str, known: set[str], names: Mapping[str, str]) -> str:
    """The label that a truth stands for, itself where there is none."""
    if truth in names:
        return names[truth]
    if truth in known:
        return truth
    alike = [each for each in known if each.strip().casefold() == truth.casefold()]
    # What transformers calls a label that nobody has named.
    alike = alike or [each for each in known if each == f"LABEL_{truth}"]
    return alike[0] if len(alike) == 1 else truth


def _confidence(
    by_score: Mapping[tuple[int, bool], int], threshold: float, answered: int
) -> Confidence:
    least = round(threshold * _BINS)
    kept = {
        right: sum(n for (at, r), n in by_score.items() if at >= least and r is right)
        for right in (True, False)
    }
    total = kept[True] + kept[False]
    return Confidence(
        threshold, total / answered if answered else 0.0, kept[True] / total if total else 0.0
    )


def fields(judged: Evaluation) -> dict[str, Any]:
    """The evaluation for programs."""
    content = asdict(judged)
    content["pairs"] = [
        {"truth": truth, "label": label, "count": count}
        for (truth, label), count in sorted(judged.pairs.items())
    ]
    return content
