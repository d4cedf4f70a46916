from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from celery.worker import state as celery_state

from labelmill.worker.settings import WorkerSettings
from labelmill.worker.stopwatch import Stopwatch
from labelmill.worker.watchdog import Watchdog


@dataclass
class Pipeline:
    """As far as the watchdog knows it."""

    device_seconds: float = 0.0
    winding_down: bool = False

    def wind_down(self) -> None:
        self.winding_down = True


@pytest.fixture(autouse=True)
def celery_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celery_state, "should_stop", None)
    monkeypatch.setattr(celery_state, "should_terminate", None)


class Watched:
    """A watchdog over a pipeline, and whether it has barked."""

    def __init__(self, **settings: Any) -> None:
        self.pipeline = Pipeline()
        self.ended = False
        self.watchdog = Watchdog(self.pipeline, WorkerSettings(**settings), end=self._end)  # type: ignore[arg-type]

    def _end(self) -> None:
        self.ended = True

    def look(self) -> bool:
        self.watchdog.look()
        return self.ended


def test_a_healthy_worker_is_left_alone() -> None:
    watched = Watched(forward_timeout=10)
    watched.pipeline.device_seconds = 9.9

    assert not watched.look()
    assert not watched.pipeline.winding_down


def test_a_device_that_hangs_ends_the_process() -> None:
    watched = Watched(forward_timeout=10)
    watched.pipeline.device_seconds = 10.1

    assert watched.look()


def test_a_timeout_of_nothing_is_none() -> None:
    watched = Watched(forward_timeout=0)
    watched.pipeline.device_seconds = 1e9

    assert not watched.look()


@pytest.mark.parametrize("exit_code", [0, 1])
def test_a_warm_shutdown_winds_down_and_has_its_grace(
    monkeypatch: pytest.MonkeyPatch, exit_code: int
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    watched = Watched(shutdown_grace=10)
    monkeypatch.setattr(celery_state, "should_stop", exit_code)

    assert not watched.look()
    assert watched.pipeline.winding_down
    now = 112.9
    assert not watched.look()
    now = 113.1
    assert watched.look()


def test_a_cold_shutdown_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched()
    monkeypatch.setattr(celery_state, "should_terminate", 1)

    assert watched.look()


def test_a_second_signal_ends_the_process() -> None:
    watched = Watched()

    watched.watchdog.hear(sig="SIGTERM")
    assert not watched.look()
    watched.watchdog.hear(sig="SIGTERM")
    assert watched.look()


def test_a_stopwatch_runs_inside_its_block() -> None:
    stopwatch = Stopwatch()
    assert stopwatch.seconds == 0
    with stopwatch:
        assert stopwatch.seconds > 0
    assert stopwatch.seconds == 0
