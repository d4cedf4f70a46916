"""The webhook: a service that carries announcements from the stream to a receiver."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Event

from labelmill.broker.announcements import JobFinished, of_results
from labelmill.broker.group import ConsumerGroup, Entry
from labelmill.broker.outage import Outage
from labelmill.core.errors import ServiceUnavailable
from labelmill.db.filters import ResultFilter
from labelmill.db.results import Results
from labelmill.webhook.delivery import Delivery, DeliveryOutcome, Sender, deliveries

logger = logging.getLogger(__name__)

_BLOCK_MS = 2000
_PAUSE_SECONDS = 1.0
_ROWS_A_PAGE = 500


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are announced; empty means all.

    Attributes:
        models, runs: the job is of one of these models, and of one of these runs.
    """

    models: frozenset[str] = frozenset()
    runs: frozenset[str] = frozenset()

    def includes(self, job: JobFinished) -> bool:
        """Whether this one is."""
        return (not self.models or job.get("model") in self.models) and (
            not self.runs or job.get("run") in self.runs
        )


class Webhook:
    """Delivers what is announced, in its order, until it is told to stop.

    Nothing is acknowledged before it is delivered or given up. While the receiver is away, the
    announcements wait in the stream, and not here.

    Parameters:
        stop: when set, :meth:`run` returns soon.
    """

    def __init__(
        self, group: ConsumerGroup, sender: Sender, chosen: JobFilter, stop: Event
    ) -> None:
        self._group = group
        self._sender = sender
        self._chosen = chosen
        self._stop = stop
        self._outage = Outage("what is announced meanwhile waits there")
        self.delivered = 0
        self.given_up = 0

    def run(self) -> None:
        """Deliver until the stop; a Redis that is away is waited for."""
        joined = False
        while not self._stop.is_set():
            try:
                if not joined:
                    self._group.join()
                    joined = True
                    logger.info("delivering what is announced")
                self._handle(self._group.take(_BLOCK_MS))
                self._outage.over("take")
            except ServiceUnavailable as error:
                self._outage.note("take", error.__cause__ or error)
                self._stop.wait(_PAUSE_SECONDS)

    def _handle(self, entries: list[Entry]) -> None:
        jobs = [job for _, group in entries for job in group if self._chosen.includes(job)]
        for delivery in deliveries(jobs):
            outcome, failure = self._sender.deliver(delivery, lambda: self._keep(entries))
            if outcome is DeliveryOutcome.STOPPED:
                self._group.leave(entries)
                return
            if outcome is DeliveryOutcome.GIVEN_UP:
                self._give_up(delivery, failure or "")
            else:
                self.delivered += len(delivery.jobs)
        if entries:
            self._group.acknowledge(entries)

    def _keep(self, entries: Sequence[Entry]) -> None:
        try:
            self._group.keep(entries)
        except ServiceUnavailable as error:
            # At worst another takes them too, and they are delivered twice.
            self._outage.note("take", error.__cause__ or error)

    def _give_up(self, delivery: Delivery, failure: str) -> None:
        self.given_up += len(delivery.jobs)
        logger.error(
            "gave up %d finished jobs (%s), %d in all; labelmill webhook --given-up lists them",
            len(delivery.jobs),
            failure,
            self.given_up,
        )
        self._group.give_up(delivery.jobs, failure)


def finished_since(results: Results, since: datetime, chosen: JobFilter) -> Iterator[Delivery]:
    """Deliveries of all rows that were finished since a time, the newest first."""
    after = None
    while True:
        page = results.page(ResultFilter(since=since), _ROWS_A_PAGE, after)
        jobs = [job for job in of_results(page.results) if chosen.includes(job)]
        yield from deliveries(jobs)
        if (after := page.next) is None:
            return
