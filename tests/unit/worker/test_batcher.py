"""The hand-over to the device: what is ready is gathered, and two groups are under way."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from labelmill.worker.batcher import BatchQueue
from tests.support.waiting import wait_for


class Device:
    """Takes groups in a thread, as the forward stage does; a test says when one is done."""

    def __init__(self, ready: BatchQueue) -> None:
        self._ready = ready
        self.launched: queue.Queue[list[Any]] = queue.Queue()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        while (batch := self._ready.take()) is not None:
            self.launched.put(list(batch.jobs))


@pytest.fixture
def ready() -> Iterator[BatchQueue]:
    ready = BatchQueue({"texts": 8})
    yield ready
    ready.close()


def put(ready: BatchQueue, *jobs: str) -> None:
    ready.put("texts", jobs)  # type: ignore[arg-type]  # it only hands them on


def test_the_next_group_is_launched_before_the_last_one_is_done(ready: BatchQueue) -> None:
    device = Device(ready)
    put(ready, "a")
    assert device.launched.get(timeout=10) == ["a"]
    put(ready, "b")
    assert device.launched.get(timeout=10) == ["b"]  # and "a" is still on the device


def test_while_two_are_on_the_device_what_comes_is_gathered(ready: BatchQueue) -> None:
    device = Device(ready)
    for job in ("a", "b"):
        put(ready, job)
        device.launched.get(timeout=10)
    put(ready, "c", "d")
    put(ready, "e")
    wait_for(lambda: ready.room("texts") == 5)  # nobody took them

    ready.off_device()  # "a" is done, "b" runs: the device finds its next group at once

    assert device.launched.get(timeout=10) == ["c", "d", "e"]
    assert device.launched.empty()


def test_a_lone_job_waits_for_nobody(ready: BatchQueue) -> None:
    device = Device(ready)
    for number in range(5):
        put(ready, str(number))
        assert device.launched.get(timeout=10) == [str(number)]
        ready.off_device()


def test_a_hand_over_that_is_closed_lets_go_while_the_device_is_full(ready: BatchQueue) -> None:
    device = Device(ready)
    for job in ("a", "b"):
        put(ready, job)
        device.launched.get(timeout=10)
    put(ready, "c")

    ready.close()

    device.thread.join(timeout=10)
    assert not device.thread.is_alive()
    assert ready.left() == ["c"]
