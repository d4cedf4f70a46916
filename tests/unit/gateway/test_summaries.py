"""Summaries are counted once for all who ask, and hold nobody up."""

from __future__ import annotations

import asyncio
import threading
from typing import cast

import pytest

from labelmill.core.errors import DatabaseUnavailable
from labelmill.db.filters import ResultFilter
from labelmill.db.results import Results
from labelmill.db.summary import ResultSummary
from labelmill.gateway import cache, summaries
from labelmill.gateway.executors import Executor
from labelmill.gateway.problems import Problem
from labelmill.gateway.summaries import Summaries

ANY = ResultFilter()


class _Counting:
    """Queries that count when they are let, and say how often they were asked."""

    def __init__(self) -> None:
        self.may_count = threading.Event()
        self.asked = 0
        self.succeeded = 0

    def summary(self, _wanted: ResultFilter) -> ResultSummary:
        self.asked += 1
        assert self.may_count.wait(10)
        self.succeeded += 1
        return ResultSummary(self.succeeded, 0, [], [0] * 20, [])


class _Clock:
    """A clock that stands still until it is put forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(cache, "time", clock)
    return clock


def _summaries(queries: _Counting, patience: float) -> Summaries:
    threads = Executor("summaries", 1, 10, DatabaseUnavailable)
    return Summaries(cast("Results", queries), threads, patience)


def test_many_who_ask_at_once_are_served_by_one_count() -> None:
    queries = _Counting()
    queries.may_count.set()

    async def ask() -> list[ResultSummary]:
        subject = _summaries(queries, 5)
        return list(await asyncio.gather(*(subject.of(ANY) for _ in range(20))))

    assert {each.succeeded for each in asyncio.run(ask())} == {1}
    assert queries.asked == 1


def test_what_counts_for_too_long_can_be_asked_for_again() -> None:
    queries = _Counting()

    async def ask() -> ResultSummary:
        subject = _summaries(queries, 0.01)
        with pytest.raises(Problem, match="still counting"):
            await subject.of(ANY)
        queries.may_count.set()
        while True:
            try:
                return await subject.of(ANY)
            except Problem:
                await asyncio.sleep(0)

    assert asyncio.run(ask()).succeeded == 1
    assert queries.asked == 1


def test_while_a_newer_one_is_counted_the_last_one_does(clock: _Clock) -> None:
    queries = _Counting()
    queries.may_count.set()

    async def ask() -> tuple[int, int]:
        subject = _summaries(queries, 10)
        first = await subject.of(ANY)
        clock.now += summaries._FRESH_SECONDS + 0.1
        queries.may_count.clear()
        subject._patience = 0.01
        second = await subject.of(ANY)
        queries.may_count.set()
        return first.succeeded, second.succeeded

    assert asyncio.run(ask()) == (1, 1)
    assert queries.asked == 2


def test_what_takes_long_is_counted_less_often(clock: _Clock) -> None:
    loads = 0

    async def load() -> int:
        nonlocal loads
        loads += 1
        clock.now += 8
        return loads

    async def ask() -> list[int]:
        value = cache.Cached(load, seconds=2, times=5)
        answers = [await value.get()]
        clock.now += 39
        answers.append(await value.get())
        clock.now += 2
        answers.append(await value.get())
        return answers

    assert asyncio.run(ask()) == [1, 1, 2]
