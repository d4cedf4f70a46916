"""The summary of results: labels, scores and errors counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Row, Select, cast, func, select, true

from labelmill.core.states import Status
from labelmill.db.tables import results

SCORE_BINS = 20
MAX_LABELS = 1000
"""Labels of a summary, and error codes."""


@dataclass(frozen=True, slots=True)
class ResultSummary:
    """Counts over results.

    Attributes:
        labels: the first labels with their numbers, the most frequent first.
        scores: how many first labels' scores are in each of 20 equal bins of 0 to 1; what is
            below or above counts in the first or last.
        errors: the codes of failures with their numbers, the most frequent first.
        complete: False for a search that looked through the newest only.
    """

    succeeded: int
    failed: int
    labels: list[tuple[str, int]]
    scores: list[int]
    errors: list[tuple[str, int]]
    complete: bool = True


def counted_columns(dialect: str) -> Select[*tuple[Any, ...]]:
    """The columns of results that :func:`summary_of` counts."""
    score_bin = _floor(results.c.score * SCORE_BINS, dialect).label("bin")
    return select(results.c.status, results.c.label, results.c.error_code, score_bin)


def summary_of(
    connection: Connection, wanted: Select[*tuple[Any, ...]], most: int | None = None
) -> ResultSummary:
    """Count what a query of :func:`counted_columns` finds.

    Parameters:
        most: for a query that has a column ``found`` too: of so many rows at the most, only those
            that are found are counted.
    """
    rows = (wanted if most is not None else wanted.add_columns(true().label("found"))).subquery()
    query = select(*rows.c, func.count().label("results")).group_by(*rows.c)
    return _summary(connection.execute(query).all(), most)


def _summary(rows: Sequence[Row[*tuple[Any, ...]]], most: int | None) -> ResultSummary:
    statuses: Counter[Status] = Counter()
    labels: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    scores = [0] * SCORE_BINS
    for row in rows:
        if not row.found:
            continue
        statuses[row.status] += row.results
        if row.label is not None:
            labels[row.label] += row.results
        if row.error_code is not None:
            errors[row.error_code] += row.results
        if row.bin is not None:
            scores[min(max(int(row.bin), 0), SCORE_BINS - 1)] += row.results
    return ResultSummary(
        succeeded=statuses[Status.SUCCEEDED],
        failed=statuses[Status.FAILED],
        labels=labels.most_common(MAX_LABELS),
        scores=scores,
        errors=errors.most_common(MAX_LABELS),
        complete=most is None or sum(row.results for row in rows) < most,
    )


def _floor(number: ColumnElement[float | None], dialect: str) -> ColumnElement[int]:
    # SQLite may have been built without floor(), and cuts a number off; PostgreSQL rounds it.
    return cast(number if dialect == "sqlite" else func.floor(number), Integer)
