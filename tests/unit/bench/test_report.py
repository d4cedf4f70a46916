"""The arithmetics of the report, its table, its file and its plot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labelmill.bench import plot
from labelmill.bench.report import Curve, Measure, Report, as_table
from labelmill.core.errors import ConfigurationError


def printed(*measures: Measure) -> str:
    return as_table("part", measures)


@pytest.mark.parametrize(
    ("unit", "expected"), [("jobs/s", 2.0), ("tokens/s", 2.0), ("%", 2.0), ("ms", 0.5)]
)
def test_the_ratio_says_how_many_times_as_fast_we_are(unit: str, expected: float) -> None:
    measure = Measure("queue", unit, "Celery")
    measure.add(10, 5)
    assert measure.ratios == [expected]


@pytest.mark.parametrize(("goal", "met"), [(2.0, True), (2.1, False), (None, None)])
def test_the_median_of_the_repeats_meets_the_goal(goal: float | None, met: bool | None) -> None:
    measure = Measure("texts", "texts/s", "pipeline", goal)
    for ours, peer in [(10, 10), (20, 10), (90, 10)]:
        measure.add(ours, peer)
    assert measure.met is met


def test_a_figure_that_stands_alone_has_no_ratio() -> None:
    measure = Measure("agreement", "%", ours=[100.0])
    assert measure.ratios == []
    assert measure.met is None
    assert set(measure.as_json()) == {"what", "unit", "ours"}


def test_the_table_has_the_median_the_spread_the_goal_and_the_verdict() -> None:
    measure = Measure("queue to rows", "jobs/s", "Celery", 15, [12000, 15000, 16000], [1000] * 3)
    table = printed(measure)
    for part in ("15,000", "12,000–16,000", "15.0×", "12.0–16.0", "≥ 15×", "met", "Celery"):
        assert part in table


def test_without_goals_there_is_no_column_for_them() -> None:
    assert "goal" not in printed(Measure("texts", "texts/s", ours=[1.0]))


def test_the_file_has_every_value(tmp_path: Path) -> None:
    measure = Measure("texts", "texts/s", "pipeline", 1.5, [123.456, 200.0], [100.0, 100.0])
    curve = Curve("memory", "jobs", "MiB", [(1.0, 2.0)])
    Report("texts", [measure], {"repeats": 2}, notes=["a note"], curves=[curve]).write(
        tmp_path / "new" / "texts.json"
    )
    found = json.loads((tmp_path / "new" / "texts.json").read_text())
    assert found["measures"] == [
        {
            "what": "texts",
            "unit": "texts/s",
            "ours": [123.5, 200.0],
            "peer": "pipeline",
            "theirs": [100.0, 100.0],
            "times_as_fast": [1.235, 2.0],
            "median_times_as_fast": 1.617,
            "goal": 1.5,
            "met": True,
        }
    ]
    assert found["curves"][0]["points"] == [[1.0, 2.0]]
    assert found["notes"] == ["a note"]
    assert found["measured_on"]["cpus"] >= 1


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_the_plot_is_a_picture(tmp_path: Path, suffix: str, start: bytes) -> None:
    measures = [
        Measure("texts", "texts/s", "pipeline", 1.5, [2.0, 3.0], [1.0, 1.5]),
        Measure("alone", "%", ours=[1.0]),
    ]
    curve = Curve("memory", "jobs", "MiB", [(1.0, 2.0), (2.0, 2.5)])
    file = tmp_path / f"plot{suffix}"
    plot.check(file)
    plot.draw(Report("texts", measures, {}, curves=[curve]), file)
    assert file.read_bytes().startswith(start)


def test_ratios_are_drawn_beside_their_goals(tmp_path: Path) -> None:
    measures = [Measure("texts", "texts/s", "pipeline", 1.5, [2.0], [1.0])]
    plot.draw_goals([Report("texts", measures, {})], tmp_path / "goals.png")
    assert (tmp_path / "goals.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_to_draw_draws_nothing(tmp_path: Path) -> None:
    report = Report("texts", [Measure("alone", "%", ours=[1.0])], {})
    plot.draw(report, tmp_path / "plot.png")
    plot.draw_goals([report], tmp_path / "plot.png")
    assert not (tmp_path / "plot.png").exists()


def test_a_plot_of_another_kind_is_refused_early() -> None:
    with pytest.raises(ConfigurationError, match=r"plot\.doc: a plot ends in"):
        plot.check(Path("plot.doc"))
