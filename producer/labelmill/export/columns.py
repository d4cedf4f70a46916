"""Columns of an export: those of a result, and those of the file that the jobs came from."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from labelmill.core import result
from labelmill.db.records import Record

RESULT_COLUMNS = (*result.RESULT_COLUMNS, "input")
JOINED_RESULT_COLUMNS = result.RESULT_COLUMNS
"""Of a joined export: the input stands in the file's own columns."""

Values: TypeAlias = Sequence[Any]
"""One row of an export; times are aware datetimes, scores a list of ``LabelScore``."""

_ROWS_A_BLOCK = 1000


@dataclass(frozen=True, slots=True)
class Export:
    """Rows to be written, once.

    Attributes:
        source_columns: names of the columns out of the source's file, which come first.
        result_columns: names of the columns that follow, some of ``RESULT_COLUMNS``.
        rows: each as long as both together.
    """

    source_columns: tuple[str, ...]
    result_columns: tuple[str, ...]
    rows: Iterable[Values]

    @property
    def names(self) -> tuple[str, ...]:
        """All columns in their order."""
        return self.source_columns + self.result_columns

    @property
    def scores_place(self) -> int | None:
        """Which of all columns has the results' scores."""
        if "scores" not in self.result_columns:
            return None
        return len(self.source_columns) + self.result_columns.index("scores")

    def blocks(self, rows: int = _ROWS_A_BLOCK) -> Iterator[Sequence[Values]]:
        """The rows' columns, of so many rows at a time."""
        remaining = iter(self.rows)
        while block := list(itertools.islice(remaining, rows)):
            yield list(zip(*block, strict=True))


def export_of(records: Iterable[Record]) -> Export:
    """Results alone, with their inputs."""
    return Export((), RESULT_COLUMNS, ((*record.result.values, record.input) for record in records))


def distinct_names(source: Sequence[str], taken: Sequence[str]) -> tuple[str, ...]:
    """Names for a source's columns, none of which is one of ``taken`` or stands twice.

    A column ``label`` of the source is exported as ``source_label``.
    """
    used = set(taken)
    names: list[str] = []
    for name in source:
        while name in used:
            name = f"source_{name}"
        used.add(name)
        names.append(name)
    return tuple(names)
