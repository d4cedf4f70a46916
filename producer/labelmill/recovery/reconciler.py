"""The reconciler: sends jobs of the ledger again that are nowhere else.

A job is lost if it has no row, nobody holds it, and it can no longer be waiting. The lists of Redis
are first in, first out, so what was sent well before the oldest message that waits in a list is not
in it any more.

The order of the looks makes it exact. Redis first, the database afterwards: a job that is
acknowledged in between has its row by then, since rows are committed before. And a job is claimed
in the ledger before it is sent, so that of two reconcilers one sends it; if that one dies in
between, the job is lost again, and found after another grace.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter

import redis

from labelmill.broker.connection import open_broker
from labelmill.broker.inspect import QueueInspector, QueueSnapshot
from labelmill.broker.publisher import Publisher
from labelmill.db.database import Database
from labelmill.db.jobs import Jobs, Lane, LedgerEntry, Position
from labelmill.recovery.cursor import SweepCursor

_PAGE = 1000
_SENT_TOGETHER = 100  # jobs with their payloads, which may be images, in memory at a time

# Jobs that were committed this much later than they were made are still found by the next sweep;
# later ones by the next sweep of the whole ledger.
_LATE = timedelta(minutes=5)

_NEVER = datetime.min.replace(tzinfo=UTC)


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
            covers how far the clocks of producers are apart, and how long publishing takes.
    """

    def __init__(self, broker: redis.Redis, publisher: Publisher, jobs: Jobs, grace: float) -> None:
        self._publisher = publisher
        self._jobs = jobs
        self._grace = timedelta(seconds=grace)
        self._inspector = QueueInspector(broker)
        self._cursor = SweepCursor(broker)

    def sweep(self) -> Swept:
        """Look once at all jobs that may be lost, and send those that are.

        Raises:
            BrokerUnavailable: Redis is away; what was not sent is found again.
            DatabaseUnavailable: the database is away.
            SchemaOutOfDate: it has not been migrated to this version.
        """
        swept = Swept()
        for queue, lanes in groupby(self._jobs.lanes(), attrgetter("model")):
            snapshot = self._inspector.snapshot(queue, leased=False)
            for lane in lanes:
                self._sweep_lane(lane, snapshot, swept)
        return swept

    def _sweep_lane(self, lane: Lane, snapshot: QueueSnapshot, swept: Swept) -> None:
        end = snapshot.gone_before(lane.priority, self._grace)
        if end is None:
            return
        look: QueueSnapshot | None = None
        mark = end - _LATE
        for page in self._pages(lane, end):
            swept.looked_at += len(page)
            missing = [entry for entry in page if not entry.finished]
            if not missing:
                continue
            # Only now is it worth while to ask who is leased. It holds for all later pages: what
            # was not in Redis at that moment comes back by a reconciler alone, which claims it.
            look = look or self._inspector.snapshot(lane.model, leased=True)
            # Given back in between, older jobs may wait again.
            gone = look.gone_before(lane.priority, self._grace) or _NEVER
            lost: list[LedgerEntry] = []
            held: list[LedgerEntry] = []
            for entry in missing:
                is_lost = entry.due_at < gone and entry.id not in look.leased
                (lost if is_lost else held).append(entry)
            swept.sent += self._send(lost, gone)
            mark = min([mark, *(entry.due_at for entry in held)])
        self._cursor.save(lane, mark)

    def _pages(self, lane: Lane, end: datetime) -> Iterator[list[LedgerEntry]]:
        position = self._cursor.get(lane)
        while page := self._jobs.page(lane, position, end, _PAGE):
            yield page
            if len(page) < _PAGE:
                return
            position = Position(page[-1].due_at, page[-1].id)

    def _send(self, lost: Sequence[LedgerEntry], gone_before: datetime) -> int:
        sent = 0
        for start in range(0, len(lost), _SENT_TOGETHER):
            ids = [entry.id for entry in lost[start : start + _SENT_TOGETHER]]
            now = self._inspector.now()
            claimed = self._jobs.claim_lost(ids, gone_before, now)
            claimed.sort(key=attrgetter("enqueued_at", "id"))
            self._publisher.publish(claimed)
            sent += len(claimed)
        return sent


@contextmanager
def reconciling(broker_url: str, database_url: str, grace: float) -> Iterator[Reconciler]:
    """A reconciler with connections of its own."""
    with (
        open_broker(broker_url) as broker,
        Database.open(database_url) as database,
        closing(Publisher(broker_url)) as publisher,
    ):
        yield Reconciler(broker, publisher, database.jobs, grace)
