"""The report: what each repeat measured, as a table for people and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.table import Table


@dataclass
class Measure:
    """One figure of both sides, a value a repeat.

    Attributes:
        what: what was measured.
        unit: of the values; of a unit of time, less is better.
    """

    what: str
    unit: str
    database: str = ""
    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)

    def add(self, ours: float, peer: float) -> None:
        """Take in a repeat."""
        self.ours.append(ours)
        self.peer.append(peer)

    @property
    def ratios(self) -> list[float]:
        """How many times as fast we were, in each repeat."""
        pairs = zip(self.ours, self.peer, strict=True)
        more_is_better = self.unit == "jobs/s"
        return [ours / peer if more_is_better else peer / ours for ours, peer in pairs]

    def as_json(self) -> dict[str, object]:
        """All values and the median ratio."""
        return {
            "what": self.what,
            "unit": self.unit,
            "database": self.database,
            "ours": [round(value, 3) for value in self.ours],
            "peer": [round(value, 3) for value in self.peer],
            "times_as_fast": [round(ratio, 2) for ratio in self.ratios],
            "median_times_as_fast": round(statistics.median(self.ratios), 2),
        }


def as_table(measures: Iterable[Measure]) -> Table:
    """Medians with the least and the greatest; the ratio is the median of the repeats'."""
    table = Table(title="median, and the least and the greatest of the repeats")
    table.add_column("measured")
    table.add_column("database")
    for heading in ("Labelmill", "Celery", "times as fast"):
        table.add_column(heading, justify="right")
    for each in measures:
        table.add_row(
            f"{each.what} ({each.unit})",
            each.database,
            _spread(each.ours),
            _spread(each.peer),
            _spread(each.ratios, "×"),
        )
    return table


def _spread(values: Sequence[float], unit: str = "") -> str:
    middle, least, greatest = statistics.median(values), min(values), max(values)
    return f"{_short(middle)}{unit}  [dim]{_short(least)}–{_short(greatest)}[/]"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
