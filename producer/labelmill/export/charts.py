"""Charts: numbers as bars of an SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH, _TOP, _BOTTOM = 480.0, 16.0, 130.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, in units of the drawing; its upper part may show what failed."""

    x: float
    y: float
    width: float
    height: float
    bad_y: float
    bad_height: float
    title: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bars side by side.

    Attributes:
        most: the greatest number, as text.
        unit, first, last: what stands above and below.
    """

    title: str
    bars: list[Bar]
    most: str
    unit: str = ""
    first: str = ""
    last: str = ""


def histogram(
    title: str,
    counts: Sequence[int],
    titles: Sequence[str],
    *,
    failed: Sequence[int] | None = None,
    unit: str = "",
    first: str = "",
    last: str = "",
) -> Histogram:
    """Bars for counts of which ``failed`` are to be marked."""
    most = max(counts, default=0) or 1
    step = _WIDTH / max(len(counts), 1)
    bars = []
    for number, (count, name) in enumerate(zip(counts, titles, strict=True)):
        height = (_BOTTOM - _TOP) * count / most
        bad = (_BOTTOM - _TOP) * (failed[number] if failed else 0) / most
        bars.append(
            Bar(
                x=round(number * step + step * 0.05, 2),
                y=round(_BOTTOM - height + bad, 2),
                width=round(step * 0.9, 2),
                height=round(height - bad, 2),
                bad_y=round(_BOTTOM - height, 2),
                bad_height=round(bad, 2),
                title=f"{name}: {count:,}",
            )
        )
    return Histogram(title, bars, f"{max(counts, default=0):,}", unit, first, last)
