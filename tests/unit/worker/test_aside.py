from __future__ import annotations

import threading

import pytest

from labelmill.worker.background import BackgroundWork
from tests.support.waiting import wait_for


def test_jobs_count_until_their_work_is_done() -> None:
    rung, go = threading.Event(), threading.Event()
    aside = BackgroundWork(rung.set)

    aside.begin("digits", 3, go.wait)
    aside.begin("digits", 2, go.wait)
    aside.begin("topics", 1, lambda: None)

    assert aside.jobs("digits") == 5
    wait_for(lambda: aside.jobs("topics") == 0)
    go.set()
    wait_for(lambda: aside.jobs("digits") == 0)
    assert rung.wait(10)


def test_what_ends_a_work_is_told_once() -> None:
    def fail() -> None:
        raise LookupError

    rung = threading.Event()
    aside = BackgroundWork(rung.set)

    aside.begin("digits", 1, fail)
    assert rung.wait(10)

    with pytest.raises(LookupError):
        aside.jobs("digits")
    assert aside.jobs("digits") == 0
