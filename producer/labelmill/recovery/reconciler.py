"""The reconciler: sends jobs of the ledger again that are nowhere else.

A job is lost if it has no row and is nowhere in Redis: not waiting, not leased, not delayed, not
dead. Which ones to look for is guessed, since a queue may be long: the lists of Redis are first in,
first out, so that what was sent well before the oldest messages of its list most likely is not in
it. Those times are of many machines, and may be wrong; so each job that is missed is looked for
before it is sent, and a wrong clock costs a look through the list, or a delay.

The order of the looks makes it exact. The ledger, then Redis, then the ledger again: a job that is
acknowledged in between has its row by then, since rows are committed before. And a job is claimed
in the ledger before it is sent, so that of two reconcilers one sends it; if that one dies in
between, the job is lost again, and found after another grace.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter

import redis

from labelmill.broker.connection import open_broker
from labelmill.broker.inspect import QueueInspector, QueueSnapshot
from labelmill.broker.publisher import Publisher
from labelmill.db.database import Database
from labelmill.db.jobs import Jobs, Lane, LedgerEntry, Position
from labelmill.recovery.cursor import SweepCursor, SweepPlace

logger = logging.getLogger(__name__)

_PAGE = 1000
_SENT_TOGETHER = 100  # jobs with their payloads, which may be images, in memory at a time

# The most jobs of a lane that one sweep looks for in Redis; the next sweep goes on after them.
_MOST_MISSED = 100_000

# Jobs that were committed this much later than they were made are still found by the next sweep;
# later ones by the next sweep of the whole ledger.
_LATE = timedelta(minutes=5)


@dataclass(slots=True)
class Swept:
    """What a sweep did: how many jobs it looked at, and how many of them it sent again."""

    looked_at: int = 0
    sent: int = 0


class Reconciler:
    """Finds the jobs that were lost, and sends each again. Any number may run at the same time.

    Parameters:
        broker: a client with ``decode_responses`` off.
        grace: seconds for which nothing is lost yet, counted from its sending or from its eta; it
            covers how long publishing takes.
        most_waiting: so many jobs may wait in a queue; what is lost beyond that is sent later.
    """

    def __init__(
        self,
        broker: redis.Redis,
        publisher: Publisher,
        jobs: Jobs,
        grace: float,
        most_waiting: int,
    ) -> None:
        self._publisher = publisher
        self._jobs = jobs
        self._grace = timedelta(seconds=grace)
        self._most_waiting = most_waiting
        self._inspector = QueueInspector(broker)
        self._cursor = SweepCursor(broker)

    def sweep(self) -> Swept:
        """Look once at all jobs that may be lost, and send those that are.

        A queue that Redis refuses is left out, and the others are swept.

        Raises:
            BrokerUnavailable: Redis is away; what was not sent is found again.
            DatabaseUnavailable: the database is away.
            SchemaOutOfDate: it has not been migrated to this version.
        """
        swept = Swept()
        for queue, lanes in groupby(self._jobs.lanes(), attrgetter("model")):
            counted = self._inspector.counts([queue])[queue]
            if counted.refusal:
                logger.warning("the queue %s is not swept: %s", queue, counted.refusal)
                continue
            snapshot = self._inspector.snapshot(queue, held=False)
            room = max(0, self._most_waiting - counted.depth["waiting"])
            for lane in lanes:
                room -= self._sweep_lane(lane, snapshot, room, swept)
        return swept

    def _sweep_lane(self, lane: Lane, snapshot: QueueSnapshot, room: int, swept: Swept) -> int:
        """Look at the jobs of a lane, and send those that are lost; returns how many.

        Parameters:
            room: the most jobs to send.
        """
        place = self._cursor.get(lane)
        latest = snapshot.most_gone_before(lane.priority, self._grace)
        # Once an hour all is looked at, whatever the clocks of senders say.
        end = snapshot.moment - self._grace if place.mark is None else latest
        missed, stopped_at = self._missed(lane, place.start, end, swept)
        absent = self._inspector.absent(lane.model, [each.id for each in missed]) if missed else ()
        lost = [entry for entry in missed if entry.id in absent]
        sent = self._send(lost[:room], end)
        swept.sent += sent
        left = [entry for entry in missed if entry.id not in absent] + lost[room:]
        if left and (ahead := snapshot.ahead(lane.priority)) > self._grace:
            logger.warning(
                "the oldest jobs of %s say that they were sent %.0f s from now: the clock of who"
                " sent them is ahead, or that of Redis behind",
                lane.model,
                ahead.total_seconds(),
            )
        dues = [entry.due_at for entry in left] + ([place.held] if place.held else [])
        if stopped_at is not None:
            self._cursor.save(lane, SweepPlace(place.mark, stopped_at, min(dues, default=None)))
        else:
            self._cursor.save(lane, SweepPlace(min([latest - _LATE, *dues])))
        return sent

    def _missed(
        self, lane: Lane, start: Position | None, end: datetime, swept: Swept
    ) -> tuple[list[LedgerEntry], Position | None]:
        """The jobs without a row, and where to go on if there were too many."""
        missed: list[LedgerEntry] = []
        position = start
        while page := self._jobs.page(lane, position, end, _PAGE):
            swept.looked_at += len(page)
            missed += (entry for entry in page if not entry.finished)
            if len(page) < _PAGE:
                break
            position = Position(page[-1].due_at, page[-1].id)
            if len(missed) >= _MOST_MISSED:
                return missed, position
        return missed, None

    def _send(self, lost: Sequence[LedgerEntry], due_before: datetime) -> int:
        sent = 0
        for start in range(0, len(lost), _SENT_TOGETHER):
            ids = [entry.id for entry in lost[start : start + _SENT_TOGETHER]]
            now = self._inspector.now()
            claimed = self._jobs.claim_lost(ids, due_before, now)
            claimed.sort(key=attrgetter("enqueued_at", "id"))
            self._publisher.publish(claimed)
            sent += len(claimed)
        return sent


@contextmanager
def reconciling(
    broker_url: str, database_url: str, grace: float, most_waiting: int
) -> Iterator[Reconciler]:
    """A reconciler with connections of its own."""
    with (
        open_broker(broker_url) as broker,
        Database.open(database_url) as database,
        closing(Publisher(broker_url)) as publisher,
    ):
        yield Reconciler(broker, publisher, database.jobs, grace, most_waiting)
