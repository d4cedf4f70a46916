"""Ids of rows, the progress, and what is seen of it."""

from __future__ import annotations

import json

import pytest

from labelmill.bulk.progress import Rate, SubmitProgress
from labelmill.cli.progress import JsonProgress, LinesProgress, duration
from labelmill.core.errors import ConfigurationError
from labelmill.sources.ids import check_run, row_id, row_number


def test_an_id_says_its_row_and_sorts_by_it() -> None:
    assert row_id("r", 17) == "r:000000017"
    assert row_number("r", row_id("r", 17)) == 17
    assert row_number("r", row_id("r", 10**10)) == 10**10
    assert sorted([row_id("r", 10), row_id("r", 9)]) == [row_id("r", 9), row_id("r", 10)]
    for other in ("r:17", "s:000000017", "r", "r:00000001x"):
        assert row_number("r", other) is None


@pytest.mark.parametrize("run", ["", "x" * 250, "a\nb"])
def test_a_run_of_which_no_ids_can_be_made(run: str) -> None:
    with pytest.raises(ConfigurationError, match="--run"):
        check_run(run)


def test_a_rate_is_of_the_last_seconds() -> None:
    moment = 0.0
    rate = Rate(now=lambda: moment)
    assert rate.per_second is None
    for moment in range(101):
        rate.add(moment * 10 if moment < 50 else 490 + (moment - 49) * 2)
    assert rate.per_second == pytest.approx(2)


def test_what_is_left() -> None:
    clock = iter([0.0, 1.0])
    progress = SubmitProgress("r", "q", total=1000, sent_rate=Rate(now=lambda: next(clock)))
    for progress.sent in (0, 100):
        progress.sent_rate.add(progress.sent)
    assert (progress.part, progress.rate, progress.eta) == (0.1, 100, 9)
    progress.total, progress.fraction = None, 0.2
    assert (progress.part, progress.eta) == (0.2, 4)


def test_a_line_has_no_control_codes(capsys: pytest.CaptureFixture[str]) -> None:
    progress = SubmitProgress("r", "q", sent=12_000, succeeded=1, failed=2, rejected=3)
    progress.waiting_for = "100,000 jobs in the queue, workers take 812/s"
    LinesProgress().show(progress)
    line = capsys.readouterr().err
    assert line.endswith(
        "  12,000 sent, 3 rejected, 3 done, 2 failed, "
        "waiting: 100,000 jobs in the queue, workers take 812/s\n"
    )
    assert "\x1b" not in line


def test_progress_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    JsonProgress().show(SubmitProgress("r", "q", sent=5))
    said = json.loads(capsys.readouterr().err)
    assert (said["event"], said["sent"], said["phase"]) == ("progress", 5, "submitting")


@pytest.mark.parametrize(
    ("seconds", "said"), [(42.4, "42 s"), (420, "7 min"), (12_000, "3 h 20 min")]
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
