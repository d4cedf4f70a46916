"""The prepare stage, among fakes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from labelmill.broker.leases import Lease, Taken
from labelmill.broker.outage import Outage
from labelmill.core.errors import ErrorCode, JobError
from labelmill.core.job import Job
from labelmill.core.tasks import Task
from labelmill.worker.batcher import BatchQueue
from labelmill.worker.job import Batch
from labelmill.worker.prepare import PrepareStage
from tests.support.rows import a_message
from tests.support.waiting import wait_for

LIMIT = 4


class Engine:
    """Reads images elsewhere, the second of them in vain."""

    class spec:  # noqa: N801 - an attribute of engines
        task = Task.IMAGE_CLASSIFICATION

    def waits(self, jobs: Sequence[Job]) -> bool:
        return bool(jobs)

    def prepare(self, jobs: Sequence[Job]) -> list[str | JobError]:
        return [
            JobError(ErrorCode.IMAGE_NOT_FOUND, "") if job.image and job.image.uri == "1" else "p"
            for job in jobs
        ]


class Broker:
    """Has one full group of jobs, then none; notes how many it is asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.count = 1  # of the keeper

    def now(self) -> datetime:
        return datetime.now(UTC)

    def take(self, queue: str, limit: int, *, claim: bool) -> Taken:
        self.asked.append(limit)
        if len(self.asked) > 1:
            return Taken([], 0, None)
        return Taken([_lease(number) for number in range(limit)], 0, None)

    def hold(self, leases: Sequence[Lease]) -> None:
        pass


class Doorbell:
    """Rings all the time; counts how often it was waited for."""

    waits = 0

    def wait(self, lists: Sequence[str], seconds: float) -> bool:
        self.waits += 1
        return not threading.Event().wait(0.001)

    def ring(self) -> None:
        pass


def _lease(number: int) -> Lease:
    encoded = a_message(str(number), {"image": {"uri": str(number)}}, "digits")
    return Lease("digits", str(number).encode(), 1, 1, encoded)


def test_a_group_whose_failures_wait_for_the_database_leaves_no_room_and_asks_for_nothing() -> None:
    broker, doorbell = Broker(), Doorbell()
    ready = BatchQueue({"digits": LIMIT})
    finished: queue.Queue[Batch | None] = queue.Queue(1)
    finished.put(None)  # the database is slow
    stage = PrepareStage(
        cast("Any", {"digits": Engine()}),
        cast("Any", broker),
        cast("Any", broker),
        cast("Any", doorbell),
        max_attempts=3,
        is_revoked=lambda _: False,
        ready=ready,
        finished=finished,
        outage=Outage("tried again"),
    )
    thread = threading.Thread(target=stage.run)
    thread.start()
    try:
        wait_for(lambda: len(ready.left()) == LIMIT - 1)
        waits = doorbell.waits
        wait_for(lambda: doorbell.waits > waits + 2)
        finished.get()
        wait_for(lambda: finished.qsize() == 1 and len(broker.asked) > 1)
    finally:
        stage.stop()
        thread.join()
    assert broker.asked[0] == LIMIT
    assert min(broker.asked) > 0
