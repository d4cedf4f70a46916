"""Write batching: what many requests submit at once goes into the ledger and Redis together."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from labelmill.client import Client
from labelmill.client.client import BLOCK_SIZE
from labelmill.core.errors import JobError, ServiceUnavailable
from labelmill.core.job import SubmittedJob
from labelmill.core.run import Run
from labelmill.db.database import Database
from labelmill.db.errors import blames_rows
from labelmill.db.refusals import AllJobsRefused
from labelmill.gateway.idempotency import is_same
from labelmill.gateway.problems import try_again

_SOURCE = "http"


@dataclass(eq=False, slots=True)
class _Submission:
    """What one request submits; its answer says of each job whether it is in the ledger now.

    Or why the database refuses it.
    """

    jobs: Sequence[SubmittedJob]
    answer: asyncio.Future[list[bool | JobError]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class WriteBatcher:
    """Submits the jobs of requests in blocks, one after the other.

    While one block is under way, what comes meanwhile collects and makes the next: nobody waits
    for a block to fill, and under load a transaction and a round trip serve many requests.

    Parameters:
        client: writes the ledger and publishes.
        database: the results database, for the runs.
        seconds: how long a request waits for its answer.
        most_pending: jobs that may be waiting for their block.
    """

    def __init__(
        self, client: Client, database: Database, seconds: float, most_pending: int
    ) -> None:
        self._client = client
        self._database = database
        self._seconds = seconds
        self._most_pending = most_pending
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="write_batcher")
        self._pending: deque[_Submission] = deque()
        self._flight: asyncio.Task[None] | None = None

    async def submit(self, jobs: Sequence[SubmittedJob]) -> list[bool | JobError]:
        """Submit jobs; says of each whether it was, and False where its id stands for another job.

        Or why the database refuses it.

        A job that is in the ledger already, with the same content, counts as submitted: it is what
        a caller gets who asks again because the first answer was lost.

        Raises:
            Problem: too many requests are waiting.
            ServiceUnavailable: Redis or the database is away; what was not submitted yet will not
                be, and of what is under way nobody knows.
        """
        waiting = sum(len(each.jobs) for each in self._pending)
        if waiting + len(jobs) > self._most_pending:
            raise try_again(429, "too_many_requests", "more is coming in than can be written")
        submission = _Submission(jobs)
        self._pending.append(submission)
        if self._flight is None:
            self._flight = asyncio.create_task(self._fly())
        try:
            async with asyncio.timeout(self._seconds):
                return await submission.answer
        except TimeoutError:
            raise ServiceUnavailable("the ledger and the queue do not answer") from None
        finally:
            if submission in self._pending:
                self._pending.remove(submission)

    async def close(self) -> None:
        """Finish what is under way."""
        if self._flight is not None:
            await asyncio.wait([self._flight], timeout=self._seconds)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _fly(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._pending:
                block = self._next_block()
                answers = await loop.run_in_executor(self._thread, self._send, block)
                for submission, answer in zip(block, answers, strict=True):
                    if submission.answer.done():  # its caller has given up
                        continue
                    if isinstance(answer, BaseException):
                        submission.answer.set_exception(answer)
                    else:
                        submission.answer.set_result(answer)
        finally:
            self._flight = None

    def _next_block(self) -> list[_Submission]:
        block = [self._pending.popleft()]
        size = len(block[0].jobs)
        while self._pending and size + len(self._pending[0].jobs) <= BLOCK_SIZE:
            block.append(self._pending.popleft())
            size += len(block[-1].jobs)
        return block

    # In the thread

    def _send(self, block: Sequence[_Submission]) -> list[list[bool | JobError] | Exception]:
        jobs = [each for submission in block for each in submission.jobs]
        try:
            self._open_runs(jobs)
            sent, refused = self._client.send_each(jobs)
            self._count(sent)
        except Exception as error:
            # What the database refuses all of, a run or a job of some, is told to each by itself.
            if len(block) > 1 and (
                isinstance(error, AllJobsRefused | JobError) or blames_rows(error)
            ):
                return [answer for each in block for answer in self._send([each])]
            return [error] * len(block)
        new = {id(each) for each in sent}  # by identity: an id may come twice in one block
        return [self._answer(submission, new, refused) for submission in block]

    def _answer(
        self, submission: _Submission, new: set[int], refused: Mapping[str, JobError]
    ) -> list[bool | JobError] | Exception:
        before = [
            each for each in submission.jobs if id(each) not in new and each.id not in refused
        ]
        try:
            same = self._same(before) if before else set()
        except Exception as error:
            return error
        return [
            refused[each.id] if each.id in refused else id(each) in new or id(each) in same
            for each in submission.jobs
        ]

    def _same(self, before: Sequence[SubmittedJob]) -> set[int]:
        """Those that the ledger has with the same content.

        They are claimed and sent once more where nobody did: their first submission may be failing
        at this moment, in another gateway, which withdraws what is not claimed.
        """
        same = [each for each in before if self._is_kept(each)]
        self._client.publish([each.id for each in same])
        if not all(self._is_kept(each) for each in same):
            raise ServiceUnavailable("the first submission was withdrawn; submit again")
        return {id(each) for each in same}

    def _is_kept(self, job: SubmittedJob) -> bool:
        kept = self._database.jobs.get(job.id)
        return kept is not None and is_same(job, kept)

    def _open_runs(self, jobs: Sequence[SubmittedJob]) -> None:
        now = datetime.now(UTC)
        for run, model in {(job.run_id, job.model) for job in jobs}:
            if run is not None:
                self._database.runs.add(Run(run, model=model, source=_SOURCE, created_at=now))

    def _count(self, sent: Sequence[SubmittedJob]) -> None:
        runs = Counter(job.run_id for job in sent)
        for run, count in runs.items():
            if run is not None:
                self._database.runs.count_submitted(run, count)
                self._database.runs.finish(run, datetime.now(UTC))
