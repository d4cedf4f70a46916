"""The queues as the gateway sees them: how full they are, who serves them, what is running."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

import redis

from labelmill.broker.heartbeat import Heartbeat, heartbeats, serves
from labelmill.broker.inspect import QueueDepth, QueueInspector
from labelmill.core.catalog import Catalog
from labelmill.gateway.cache import Cached
from labelmill.gateway.executors import Executor
from labelmill.gateway.problems import try_again
from labelmill.gateway.schemas import Model

_FRESH_SECONDS = 0.5
_ZERO = timedelta()


class QueueOverview(NamedTuple):
    """All queues at one moment; ``oldest`` has, by queue, how long its oldest job has waited."""

    depths: dict[str, QueueDepth]
    beats: list[Heartbeat]
    oldest: dict[str, float | None]


class Queues:
    """What Redis knows, looked up at most twice a second however many ask.

    Parameters:
        broker: a client with ``decode_responses`` off.
        threads: in which it is asked.
        catalog: the models.
        max_waiting: jobs that may wait in a queue before more are refused.

    Every method:

    Raises:
        BrokerUnavailable: Redis does not answer.
    """

    def __init__(
        self,
        broker: redis.Redis,
        executor: Executor,
        catalog: Callable[[], Catalog],
        max_waiting: int,
    ) -> None:
        self._broker = broker
        self._executor = executor
        self._catalog = catalog
        self._max_waiting = max_waiting
        self._inspector = QueueInspector(broker)
        self._overview = Cached(self._look, _FRESH_SECONDS)
        self._depths = Cached(self._count, _FRESH_SECONDS)
        self._leased: dict[str, Cached[frozenset[str]]] = {}
        self._taken: dict[str, int] = {}

    async def overview(self) -> QueueOverview:
        """All queues."""
        return await self._overview.get()

    async def take_room(self, queue: str, jobs: int) -> None:
        """Count jobs that are about to be submitted.

        Raises:
            Problem: the queue is over its bound.
        """
        depth = (await self._depths.get()).get(queue)
        # None for a model that came into models.toml since they were looked up.
        waiting = (depth["waiting"] if depth else 0) + self._taken.get(queue, 0)
        if waiting + jobs > self._max_waiting:
            raise try_again(
                429,
                "queue_full",
                f"{waiting:,} jobs wait for {queue} and no more than {self._max_waiting:,} may; "
                "submit again when workers have caught up",
            )
        self._taken[queue] = self._taken.get(queue, 0) + jobs

    async def running(self, queue: str) -> frozenset[str]:
        """The jobs of a queue that are in some worker's hands."""

        async def look() -> frozenset[str]:
            seen = await self._executor.run(self._inspector.snapshot, queue, held=True)
            return seen.leased

        return await self._leased.setdefault(queue, Cached(look, _FRESH_SECONDS)).get()

    async def _count(self) -> dict[str, QueueDepth]:
        depths = await self._executor.run(self._inspector.depths, list(self._catalog()))
        self._taken.clear()
        return depths

    async def _look(self) -> QueueOverview:
        return await self._executor.run(self._look_now, list(self._catalog()))

    def _look_now(self, names: list[str]) -> QueueOverview:
        depths = self._inspector.depths(names)
        oldest = {name: self._oldest(name) for name in names if depths[name]["waiting"]}
        return QueueOverview(depths, heartbeats(self._broker), oldest)

    def _oldest(self, queue: str) -> float | None:
        seen = self._inspector.snapshot(queue, held=False)
        return (
            None if seen.oldest is None else max(seen.moment - seen.oldest, _ZERO).total_seconds()
        )


def models(catalog: Catalog, overview: QueueOverview | None) -> list[Model]:
    """The models with their queues; what only Redis knows is None without a overview."""
    described = []
    for name, spec in catalog.items():
        depth = overview.depths.get(name) if overview else None
        serving = [beat for beat in overview.beats if serves(beat, name)] if overview else None
        described.append(
            Model(
                name=name,
                task=spec.task,
                kind=spec.task.reads,
                checkpoint=spec.checkpoint,
                revision=spec.revision,
                waiting=depth and depth["waiting"],
                running=depth and depth["leased"],
                delayed=depth and depth["delayed"],
                dead=depth and depth["dead"],
                served=None if serving is None else bool(serving),
                workers=None if serving is None else len(serving),
                oldest_seconds=overview.oldest.get(name) if overview else None,
            )
        )
    return described
