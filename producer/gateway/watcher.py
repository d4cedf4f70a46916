"""The watcher: tells those who wait that a job has its row; one for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from db.errors import LabelmillError
from db.queries import Queries, ResultFilter
from producer.gateway.answers import Job
from producer.gateway.jobs import Jobs
from producer.gateway.problems import try_again
from producer.gateway.streams import Event, Stream
from producer.gateway.threads import Threads

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_MOST_WAITING = 1000  # requests; more are answered at once
_MOST_LOOKED_UP = 200  # rows for the streams at a time
_REMEMBERED = 5000
_LATE = timedelta(seconds=5)  # rows are written a little after they were finished


class Watcher:
    """Looks for rows of jobs on behalf of requests that wait and of streams.

    Parameters:
        most_streams: that may be open at the same time.
    """

    def __init__(self, jobs: Jobs, queries: Queries, threads: Threads, most_streams: int) -> None:
        self._jobs = jobs
        self._queries = queries
        self._threads = threads
        self._most_streams = most_streams
        self._waiting: dict[str, set[asyncio.Future[Job]]] = {}
        self._streams: set[Stream] = set()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._looked_until = datetime.now(UTC)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to look."""
        self._tasks.append(asyncio.create_task(self._poll()))

    def let_go(self) -> None:
        """End all streams, and let nobody wait any longer."""
        for stream in self._streams:
            stream.close()
        for waiting in self._waiting.values():
            for future in waiting:
                future.cancel()

    async def close(self) -> None:
        """Stop looking."""
        self.let_go()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def wait(self, job_id: str, seconds: float) -> None:
        """Return when the job has its row, or the time is over."""
        if sum(map(len, self._waiting.values())) >= _MOST_WAITING:
            return
        future: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(job_id, set())
        waiting.add(future)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await future
        finally:
            waiting.discard(future)
            if not waiting and self._waiting.get(job_id) is waiting:
                del self._waiting[job_id]

    def open(self, stream: Stream) -> None:
        """Give a stream what comes from now on.

        Raises:
            Problem: too many are open.
        """
        if len(self._streams) >= self._most_streams:
            raise try_again(503, "too_many_streams", "too many event streams are open")
        if not self._streams:
            self._looked_until = datetime.now(UTC)
        self._streams.add(stream)

    def leave(self, stream: Stream) -> None:
        """Give a stream nothing any more."""
        self._streams.discard(stream)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            try:
                await self._poll_waiting()
                await self._poll_streams()
            except LabelmillError as error:
                logger.warning("nobody can be told of results: %s", error)

    async def _poll_waiting(self) -> None:
        if self._waiting:
            self._tell_waiting(await self._jobs.finished(list(self._waiting)))

    def _tell_waiting(self, jobs: dict[str, Job]) -> None:
        for job_id, job in jobs.items():
            for future in self._waiting.get(job_id, ()):
                if not future.done():
                    future.set_result(job)

    async def _poll_streams(self) -> None:
        if not self._streams:
            return
        since = self._looked_until - _LATE
        page = await self._threads.run(
            self._queries.page, ResultFilter(since=since), _MOST_LOOKED_UP
        )
        new = [each for each in reversed(page.results) if each.id not in self._seen]
        if not new:
            return
        self._looked_until = new[-1].finished_at
        self._give([Event(job) for job in await self._jobs.of(new)])

    def _give(self, events: Sequence[Event]) -> None:
        for event in events:
            self._seen[event.job.id] = None
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        for stream in self._streams:
            stream.put([each for each in events if stream.wants(each.job.run, each.job.model)])
