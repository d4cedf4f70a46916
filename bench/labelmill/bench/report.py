"""The report: what each repeat measured, as a table for people and as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labelmill.bench.facts import facts

WORDS = (0, 2)  # columns that are aligned to the left; the others have numbers
CAPTION = "median, and the least and the greatest of the repeats"


@dataclass
class Measure:
    """One figure of ours, and the peer's where there is one; a value a repeat.

    Attributes:
        what: what was measured.
        unit: of the values; of rates and shares (``…/s``, ``%``) more is better, of others less.
        peer_name: whom it is held against; empty for a figure that stands alone.
        goal: the ratio of times as fast that is asked for, if one is.
    """

    what: str
    unit: str
    peer_name: str = ""
    goal: float | None = None
    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)

    def add(self, ours: float, peer: float | None = None) -> None:
        """Take in a repeat."""
        self.ours.append(ours)
        if peer is not None:
            self.peer.append(peer)

    @property
    def ratios(self) -> list[float]:
        """How many times as fast we were, in each repeat; none without a peer."""
        more_is_better = self.unit.endswith(("/s", "%"))
        pairs = zip(self.ours, self.peer, strict=True) if self.peer else ()
        return [ours / peer if more_is_better else peer / ours for ours, peer in pairs]

    @property
    def met(self) -> bool | None:
        """Whether the median ratio reaches the goal; None where none is set."""
        if self.goal is None or not self.peer:
            return None
        return statistics.median(self.ratios) >= self.goal

    def as_json(self) -> dict[str, object]:
        """All values, and what the goal says of them."""
        body: dict[str, object] = {
            "what": self.what,
            "unit": self.unit,
            "ours": [_rounded(value) for value in self.ours],
        }
        if self.peer:
            body |= {
                "peer": self.peer_name,
                "theirs": [_rounded(value) for value in self.peer],
                "times_as_fast": [_rounded(ratio) for ratio in self.ratios],
                "median_times_as_fast": _rounded(statistics.median(self.ratios)),
            }
        return body if self.goal is None else {**body, "goal": self.goal, "met": self.met}


@dataclass(frozen=True)
class Curve:
    """How one figure goes with another."""

    title: str
    x: str
    y: str
    points: list[tuple[float, float]]


@dataclass
class Report:
    """What one part of the benchmarks found.

    Attributes:
        part: its name, and that of its files.
        options: with what it was run.
        measured_on: the machine and the versions.
        notes: what a reader has to know beside the table.
    """

    part: str
    measures: list[Measure]
    options: dict[str, object]
    measured_on: dict[str, object] = field(default_factory=facts)
    notes: list[str] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """Everything."""
        return {
            "part": self.part,
            "measured_on": self.measured_on,
            "options": self.options,
            "notes": self.notes,
            "measures": [each.as_json() for each in self.measures],
            "curves": [
                {"title": each.title, "x": each.x, "y": each.y, "points": each.points}
                for each in self.curves
            ],
        }

    def write(self, path: Path) -> None:
        """As a JSON file; who ends this process meanwhile leaves the file that was there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(self.as_json(), indent=2, ensure_ascii=False) + "\n")
        new.replace(path)


def as_cells(measures: Sequence[Measure]) -> list[list[str]]:
    """The headings and a row a measure: medians with the least and the greatest.

    The ratio is the median of the repeats'.
    """
    goals = any(each.goal is not None for each in measures)
    headings = ["measured", "Labelmill", "against", "theirs", "times as fast"]
    rows = [
        [
            f"{each.what} ({each.unit})",
            _spread(each.ours),
            each.peer_name,
            _spread(each.peer),
            _spread(each.ratios, "×"),
            *([_goal(each)] if goals else []),
        ]
        for each in measures
    ]
    return [[*headings, *(["goal"] if goals else [])], *rows]


def as_table(title: str, measures: Sequence[Measure]) -> str:
    """The cells below each other, under a title."""
    table = as_cells(measures)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place in WORDS else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    lines.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join([f"{title}: {CAPTION}", *lines])


def _goal(measure: Measure) -> str:
    if measure.goal is None:
        return ""
    verdict = {True: "met", False: "missed", None: ""}[measure.met]
    return f"≥ {measure.goal:g}× {verdict}"


def _spread(values: Sequence[float], unit: str = "") -> str:
    if not values:
        return ""
    middle, least, greatest = statistics.median(values), min(values), max(values)
    spread = f"  {_short(least)}–{_short(greatest)}" if len(values) > 1 else ""
    return f"{_short(middle)}{unit}{spread}"


def _short(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _rounded(value: float) -> float:
    """Four significant digits are more than any of these figures has."""
    return float(f"{value:.4g}")
