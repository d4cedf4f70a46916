"""The rounds: who is measured when, and the figures that come of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import redis

from labelmill.bench.options import Log
from labelmill.bench.queueing.databases import Database, Databases
from labelmill.bench.queueing.messages import messages
from labelmill.bench.queueing.ours import OurSide
from labelmill.bench.queueing.publishing import Publishing
from labelmill.bench.queueing.side import Side
from labelmill.bench.queueing.stock import POOLS, Pool, StockCelery
from labelmill.bench.queueing.trial import Figures, Load, run_trial
from labelmill.bench.report import Measure
from labelmill.bench.tables import engine_table

_WARM_UP_JOBS = 500
_LONE_JOBS = 200
_FINALISTS = 3
_RATE_GOAL, _PUBLISHING_GOAL, _LATENCY_GOAL = 15, 8, 1

MakeSide = Callable[[Database], Side]


@dataclass(frozen=True)
class Rounds:
    """Trials of both sides on one Redis.

    Parameters:
        broker_url: a Redis that may be emptied.
        jobs: how many in a trial.
        group_size: of our worker.
        log: told of each trial.
    """

    broker_url: str
    jobs: int
    group_size: int
    log: Log

    def pool_rates(self, databases: Databases) -> dict[Pool, float]:
        """The peer's jobs a second with each of its pools.

        In a trial of a tenth of the jobs; the better of two for those that may be the fastest.
        """
        rates = {pool: self._pool_rate(databases, pool) for pool in POOLS}
        for pool in sorted(rates, key=rates.__getitem__)[-_FINALISTS:]:
            rates[pool] = max(rates[pool], self._pool_rate(databases, pool))
        return rates

    def run(
        self, databases: Sequence[Databases], pools: Mapping[Databases, Pool], repeats: int
    ) -> list[Measure]:
        """Measure everything that often; the sides take turns and change who begins."""
        trials = {each: _TrialMeasures(each) for each in databases}
        publishing = _PublishingMeasures(databases)
        for repeat in range(repeats):
            for each in databases:
                makers: list[MakeSide] = [self._ours, self._peer(pools[each])]
                order = makers if repeat % 2 == 0 else makers[::-1]
                figures = {make: self._trial(each, make, self.jobs, _LONE_JOBS) for make in order}
                ours, peer = (figures[make] for make in makers)
                trials[each].add(ours, peer)
                self.log(
                    f"{each.kind}, {repeat + 1} of {repeats}: Labelmill {ours.rate:,.0f}/s,"
                    f" Celery {peer.rate:,.0f}/s, {ours.rate / peer.rate:.1f}×"
                )
            publishing.add(Publishing(self.broker_url, max(1, self.jobs // 4)))
        return [
            *(measure for each in databases for measure in trials[each].measures),
            *publishing.measures,
        ]

    def _pool_rate(self, databases: Databases, pool: Pool) -> float:
        jobs = max(1, self.jobs // 10)
        rate = self._trial(databases, self._peer(pool), jobs, lone_jobs=0).rate
        self.log(f"{databases.kind}, choosing the peer's pool: {pool}: {rate:,.0f}/s")
        return rate

    def _trial(self, databases: Databases, make: MakeSide, jobs: int, lone_jobs: int) -> Figures:
        with (
            redis.Redis.from_url(self.broker_url) as broker,
            databases.fresh() as database,
            make(database) as side,
        ):
            load = Load(messages(jobs), messages(_WARM_UP_JOBS), messages(lone_jobs))
            return run_trial(side, broker, database, load)

    def _ours(self, database: Database) -> Side:
        return OurSide(self.broker_url, database.url, engine_table("NoopEngine", self.group_size))

    def _peer(self, pool: Pool) -> MakeSide:
        return lambda database: StockCelery(self.broker_url, database.url, pool)


class _TrialMeasures:
    """What the trials on one database measure."""

    def __init__(self, databases: Databases) -> None:
        kind = databases.kind
        self._rate = Measure(f"{kind}: queue to rows", "jobs/s", "Celery", _RATE_GOAL)
        self._cpu = Measure(f"{kind}: worker's CPU time", "µs/job", "Celery")
        self._p50 = Measure(f"{kind}: latency, median", "ms", "Celery", _LATENCY_GOAL)
        self._p99 = Measure(f"{kind}: latency, 99th percentile", "ms", "Celery", _LATENCY_GOAL)

    @property
    def measures(self) -> list[Measure]:
        return [self._rate, self._cpu, self._p50, self._p99]

    def add(self, ours: Figures, peer: Figures) -> None:
        self._rate.add(ours.rate, peer.rate)
        self._cpu.add(ours.cpu * 1e6, peer.cpu * 1e6)
        for measure, rank in ((self._p50, 50), (self._p99, 99)):
            measure.add(*(_percentile(each.latencies, rank) * 1e3 for each in (ours, peer)))


class _PublishingMeasures:
    """What is measured of publishing, with one ledger a database."""

    def __init__(self, databases: Sequence[Databases]) -> None:
        self._with_ledger = {
            each: Measure(f"{each.kind}: submit_many", "jobs/s", "send_task") for each in databases
        }
        self._alone = Measure("Publisher", "jobs/s", "send_task", _PUBLISHING_GOAL)
        self._batch = Measure("Publisher", "jobs/s", "send_task in a batch")

    @property
    def measures(self) -> list[Measure]:
        return [*self._with_ledger.values(), self._alone, self._batch]

    def add(self, publishing: Publishing) -> None:
        send_task = publishing.send_task()
        for databases, measure in self._with_ledger.items():
            with databases.fresh() as database:
                measure.add(publishing.submit_many(database), send_task)
        alone = publishing.publisher()
        self._alone.add(alone, send_task)
        self._batch.add(alone, publishing.send_task_in_batch())


def _percentile(values: Sequence[float], rank: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[rank - 1]
