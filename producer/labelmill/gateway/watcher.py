"""The watcher: tells those who wait that a job has its row; one for all of them.

Workers announce the groups that they finish, and the watcher listens. Announcements may be off, or
Redis away: so it looks into the database too, slowly, for what nobody announced.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from labelmill.broker.announcements import AnnouncementStream, JobFinished
from labelmill.broker.outage import Outage
from labelmill.core.errors import BrokerUnavailable, LabelmillError
from labelmill.db.filters import ResultFilter
from labelmill.db.results import Results
from labelmill.gateway.executors import Executor
from labelmill.gateway.jobs import JobFinder
from labelmill.gateway.problems import try_again
from labelmill.gateway.subscriptions import Event, Subscription

logger = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_QUIET_SECONDS = 5.0  # without an announcement, the streams look into the database
_BLOCK_MS = 1000
_PAUSE_SECONDS = 0.05  # between two reads, so that a flood is looked up in few queries
_MOST_WAITING = 1000  # requests; more are answered at once
_MOST_LOOKED_UP = 200  # rows for the streams at a time
_REMEMBERED = 5000
_LATE = timedelta(seconds=5)  # rows are written a little after they were finished

Entry = tuple[str, list[JobFinished]]


class Watcher:
    """Looks for rows of jobs on behalf of requests that wait and of streams.

    Parameters:
        most_streams: that may be open at the same time.
    """

    def __init__(
        self,
        announcements: AnnouncementStream,
        stream_executor: Executor,
        jobs: JobFinder,
        results: Results,
        executor: Executor,
        most_streams: int,
    ) -> None:
        self._announcements = announcements
        self._stream_executor = stream_executor
        self._jobs = jobs
        self._results = results
        self._executor = executor
        self._most_streams = most_streams
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._subscriptions: set[Subscription] = set()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._looked_until = datetime.now(UTC)
        self._heard_at = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to listen and to look."""
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._poll())]

    def let_go(self) -> None:
        """End all streams, and let nobody wait any longer."""
        for subscription in self._subscriptions:
            subscription.close()
        self._tell(list(self._waiting))

    async def close(self) -> None:
        """Stop listening and looking."""
        self.let_go()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def wait(self, job_id: str, seconds: float) -> None:
        """Return when the job has its row, or the time is over."""
        if len(self._waiting) >= _MOST_WAITING:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(job_id, set())
        waiting.add(future)
        try:
            # It may have got its row before we began to listen for it.
            if await self._jobs.with_results([job_id]):
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await future
        finally:
            waiting.discard(future)
            if not waiting:
                self._waiting.pop(job_id, None)

    def subscribe(self, subscription: Subscription) -> None:
        """Give a stream what comes from now on.

        Raises:
            Problem: too many are open.
        """
        if len(self._subscriptions) >= self._most_streams:
            raise try_again(503, "too_many_streams", "too many event streams are open")
        if not self._subscriptions:
            self._looked_until = datetime.now(UTC)
        self._subscriptions.add(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Give a stream nothing any more."""
        self._subscriptions.discard(subscription)

    async def backlog(
        self, after: str, subscription: Subscription
    ) -> tuple[str | None, list[Event]]:
        """Some of what was announced after an entry, and the entry to go on from, if any.

        Raises:
            BrokerUnavailable: Redis does not answer.
            DatabaseUnavailable: the database does not answer.
        """
        entries = await self._stream_executor.run(self._announcements.read, after, 0)
        if not entries:
            return None, []
        return entries[-1][0], await self._events(entries, [subscription])

    # Listening

    async def _listen(self) -> None:
        last: str | None = None
        outage = Outage("the rows are looked for in the database")
        while True:
            try:
                if last is None:
                    last = await self._stream_executor.run(self._announcements.newest)
                entries = await self._stream_executor.run(self._announcements.read, last, _BLOCK_MS)
                outage.over("read")
                if entries:
                    last = entries[-1][0]
                    await self._hear(entries)
                    await asyncio.sleep(_PAUSE_SECONDS)
            except BrokerUnavailable as error:
                outage.note("read", error.__cause__ or error)
                await asyncio.sleep(_POLL_SECONDS)
            except LabelmillError as error:
                logger.warning("announcements are not heard: %s", error)
                await asyncio.sleep(_POLL_SECONDS)

    async def _hear(self, entries: Sequence[Entry]) -> None:
        self._heard_at = time.monotonic()
        self._looked_until = datetime.now(UTC)
        self._tell([each["id"] for _, announced in entries for each in announced])
        if self._subscriptions:
            self._give(await self._events(entries, list(self._subscriptions)))

    async def _events(
        self, entries: Sequence[Entry], subscriptions: Sequence[Subscription]
    ) -> list[Event]:
        """What one of them wants of these entries, the newest only where it is much.

        The rows are read again: an event shows the whole job, and an announcement a part.
        """
        wanted = [
            (each["id"], entry)
            for entry, announced in entries
            for each in announced
            if any(subscription.wants(each["run"], each["model"]) for subscription in subscriptions)
        ]
        left_out = wanted[:-_MOST_LOOKED_UP]
        for subscription in subscriptions if left_out else ():
            subscription.miss(len(left_out))
        self._remember([job_id for job_id, _ in left_out])
        shown = wanted[-_MOST_LOOKED_UP:]
        rows = await self._jobs.with_results([job_id for job_id, _ in shown])
        events = [Event(rows[job_id], entry) for job_id, entry in shown if job_id in rows]
        return [
            # A reader that resumes after an entry has got the whole of it.
            Event(each.job) if following and following.entry == each.entry else each
            for each, following in zip(events, [*events[1:], None], strict=True)
        ]

    # Looking

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            try:
                if self._waiting:
                    self._tell(list(await self._jobs.with_results(list(self._waiting))))
                if self._subscriptions and time.monotonic() - self._heard_at > _QUIET_SECONDS:
                    await self._look()
            except LabelmillError as error:
                logger.warning("rows are not found: %s", error)

    async def _look(self) -> None:
        wanted = ResultFilter(since=self._looked_until - _LATE)
        page = await self._executor.run(self._results.page, wanted, _MOST_LOOKED_UP)
        new = [each for each in reversed(page.results) if each.id not in self._seen]
        if new:
            self._looked_until = max(self._looked_until, new[-1].finished_at)
            self._give([Event(job) for job in await self._jobs.of_results(new)])

    # Telling

    def _tell(self, ids: Sequence[str]) -> None:
        for job_id in ids:
            for future in self._waiting.get(job_id, ()):
                if not future.done():
                    future.set_result(None)

    def _give(self, events: Sequence[Event]) -> None:
        self._remember([each.job.id for each in events])
        for subscription in self._subscriptions:
            subscription.put(
                [each for each in events if subscription.wants(each.job.run, each.job.model)]
            )

    def _remember(self, ids: Sequence[str]) -> None:
        self._seen.update(dict.fromkeys(ids))
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
