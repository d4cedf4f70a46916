"""Summaries: counts over many results, looked up once for all who ask."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import UTC, datetime, timedelta

from labelmill.core.states import Status
from labelmill.db.filters import ResultFilter
from labelmill.db.results import Results
from labelmill.db.summary import ResultSummary
from labelmill.gateway.cache import Cached
from labelmill.gateway.executors import Executor
from labelmill.gateway.problems import try_again

_FRESH_SECONDS = 2.0
_FRESH_TIMES = 5.0
"""How many times as long as its counting a summary is fresh: a page that is left open then keeps
the database busy for a sixth of the time at most."""
_KEPT = 64
_OF_LATE = timedelta(days=1)


class Summaries:
    """Counts results, in threads of its own: what counts for long holds up nobody else.

    Parameters:
        patience: how long a caller waits, in seconds, before an older summary has to do.
    """

    def __init__(self, results: Results, executor: Executor, patience: float) -> None:
        self._results = results
        self._executor = executor
        self._patience = patience
        self._kept: OrderedDict[ResultFilter, Cached[ResultSummary]] = OrderedDict()
        self._failures = Cached(self._count_failures, _FRESH_SECONDS, _FRESH_TIMES)

    async def of(self, wanted: ResultFilter) -> ResultSummary:
        """The summary of a filter, or the last one while a newer one is being counted.

        Raises:
            Problem: the first one is still being counted; it can be asked for again.
            DatabaseUnavailable: the database is away.
        """
        return await self._patient(self._fresh(wanted))

    async def recent_failures(self) -> ResultSummary:
        """The jobs that failed in the last 24 hours; raises as :meth:`of`."""
        return await self._patient(self._failures)

    async def _patient(self, summary: Cached[ResultSummary]) -> ResultSummary:
        try:
            async with asyncio.timeout(self._patience) as timeout:
                return await summary.get()
        except TimeoutError:
            if not timeout.expired():
                raise
            if summary.last is None:
                raise try_again(503, "still_counting", "still counting; ask again") from None
            return summary.last

    def _fresh(self, wanted: ResultFilter) -> Cached[ResultSummary]:
        kept = self._kept.get(wanted)
        if kept is None:
            kept = self._kept[wanted] = Cached(
                lambda: self._executor.run(self._results.summary, wanted),
                _FRESH_SECONDS,
                _FRESH_TIMES,
            )
        self._kept.move_to_end(wanted)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return kept

    async def _count_failures(self) -> ResultSummary:
        wanted = ResultFilter(status=Status.FAILED, since=datetime.now(UTC) - _OF_LATE)
        return await self._executor.run(self._results.summary, wanted)
