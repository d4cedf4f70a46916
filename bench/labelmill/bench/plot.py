"""The plot: ours and the peers' side by side."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from labelmill.bench.report import Curve, Measure, Report
from labelmill.core.errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 3
_OURS, _THEIRS = "#2a6f97", "#adb5bd"


_FORMATS = {".pdf", ".png", ".svg"}


def check(path: Path) -> None:
    """Say early that no plot can be drawn.

    Raises:
        ConfigurationError: matplotlib is not installed, or this is no format of a picture.
    """
    if find_spec("matplotlib") is None:
        raise ConfigurationError("a plot needs matplotlib: pip install 'labelmill[bench]'")
    if path.suffix not in _FORMATS:
        raise ConfigurationError(f"{path}: a plot ends in {', '.join(sorted(_FORMATS))}")


def draw(report: Report, path: Path) -> None:
    """Draw a panel for each measure that has a peer, and for each curve; nothing if there is none.

    Parameters:
        path: one that :func:`check` has passed.
    """
    from matplotlib.figure import Figure

    panels: list[Callable[[Axes], None]] = [
        *(_bars(each) for each in report.measures if each.peer),
        *(_curve(each) for each in report.curves if each.points),
    ]
    if not panels:
        return
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    # Not through pyplot, which would look for a screen.
    figure = Figure(figsize=(5.2 * columns, 2.2 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for index, axes in enumerate(grid.flat):
        if index < len(panels):
            panels[index](axes)
        else:
            axes.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def draw_goals(reports: Sequence[Report], path: Path) -> None:
    """Draw all ratios that have a goal, with the goal; nothing if there is none.

    Parameters:
        path: one that :func:`check` has passed.
    """
    from matplotlib.figure import Figure

    measures = [each for report in reports for each in report.measures if each.met is not None]
    if not measures:
        return
    figure = Figure(figsize=(9, 1 + 0.4 * len(measures)), layout="constrained")
    axes = figure.subplots()
    places = range(len(measures))
    # From 1×, as fast as the peer, to either side.
    lengths = [statistics.median(each.ratios) - 1 for each in measures]
    axes.barh(places, lengths, left=1, color=_OURS)
    axes.axvline(1, color=_THEIRS)
    goals = [each.goal or 0.0 for each in measures]
    axes.scatter(goals, places, marker="|", s=250, linewidths=2, color="black", label="goal")
    axes.set_yticks(places, [f"{each.what}, against {each.peer_name}" for each in measures])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}×")
    axes.set_xlabel("times as fast")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _bars(measure: Measure) -> Callable[[Axes], None]:
    """Medians as bars, with the least and the greatest."""

    def panel(axes: Axes) -> None:
        sides = {"Labelmill": measure.ours, measure.peer_name: measure.peer}
        medians = [statistics.median(values) for values in sides.values()]
        below = [
            median - min(values) for median, values in zip(medians, sides.values(), strict=True)
        ]
        above = [
            max(values) - median for median, values in zip(medians, sides.values(), strict=True)
        ]
        axes.barh(
            list(sides), medians, xerr=[below, above], color=[_OURS, _THEIRS], capsize=3, height=0.6
        )
        axes.invert_yaxis()
        axes.set_xlabel(measure.unit)
        axes.set_title(
            f"{measure.what}: {statistics.median(measure.ratios):.2g}×", fontsize="medium"
        )

    return panel


def _curve(curve: Curve) -> Callable[[Axes], None]:
    def panel(axes: Axes) -> None:
        axes.plot(*zip(*curve.points, strict=True), color=_OURS)
        axes.set_xlabel(curve.x)
        axes.set_ylabel(curve.y)
        axes.set_ylim(0, 1.2 * max(y for _, y in curve.points))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.locator_params(axis="x", nbins=4)
        axes.set_title(curve.title, fontsize="medium")

    return panel
