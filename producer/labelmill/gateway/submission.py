"""Submission: from what a request asks for to jobs in the ledger and the queue."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from labelmill.core.errors import ErrorCode, JobError
from labelmill.core.ids import new_id
from labelmill.core.job import SubmittedJob, check_id, job_kwargs, parse_job
from labelmill.core.tasks import InputKind
from labelmill.gateway.idempotency import is_same
from labelmill.gateway.jobs import job_url
from labelmill.gateway.models import Models
from labelmill.gateway.problems import Problem, of_job
from labelmill.gateway.requests import MAX_JOBS, JobIn, ManyJobs, OneJob
from labelmill.gateway.schemas import Accepted, AcceptedJob, AcceptedRun, Fault, Refused
from labelmill.gateway.services import Services

_NAMESPACE = uuid.UUID("f0b1c9c2-6f0e-4f3f-9f5e-5d0c0c7a3f11")
_DUPLICATE = Fault(
    code="duplicate_job", message="another job was submitted under this id before; choose another"
)


class Ids:
    """The ids of what a request makes: from its idempotency key if it has one.

    Parameters:
        caller: who asks; another's equal key is another key.
        key: the ``Idempotency-Key``.
    """

    def __init__(self, caller: str, key: str | None) -> None:
        self.are_derived = key is not None
        self._prefix = f"{caller}\n{key}\n"

    def of(self, what: str) -> str:
        """The id of one thing, such as the run or the job of a number."""
        if not self.are_derived:
            return new_id()
        return str(uuid.uuid5(_NAMESPACE, self._prefix + what))


async def submit_one(services: Services, ids: Ids, asked: OneJob) -> Accepted:
    """Submit one job.

    Raises:
        Problem: it is not taken, now or ever.
        JobError: it can never be done.
        ServiceUnavailable: Redis or the database is away.
    """
    job = _submitted(
        services.models,
        asked.model,
        asked,
        id=asked.id or ids.of("0"),
        run=asked.run,
        priority=asked.priority,
        eta=asked.eta,
        expires_at=asked.expires,
    )
    await services.queues.take_room(asked.model, 1)
    [accepted] = await services.write_batcher.submit([job])
    if isinstance(accepted, JobError):
        raise accepted
    if not accepted:
        raise _conflict(derived=ids.are_derived and asked.id is None)
    return Accepted(id=job.id, url=job_url(job.id))


async def submit_many(services: Services, ids: Ids, asked: ManyJobs) -> AcceptedRun:
    """Submit many jobs as one run; a job that cannot be done stops no other.

    Raises:
        Problem: none is taken, now or ever.
        ServiceUnavailable: Redis or the database is away.
    """
    run = asked.run or ids.of("run")
    outcomes: list[SubmittedJob | JobError] = []
    for number, each in enumerate(asked.jobs):
        job_id = each.id or ids.of(str(number))
        try:
            outcomes.append(_submitted(services.models, asked.model, each, id=job_id, run=run))
        except JobError as error:
            outcomes.append(error)
    jobs = [each for each in outcomes if isinstance(each, SubmittedJob)]
    if not jobs:
        raise next(of_job(each) for each in outcomes if isinstance(each, JobError))
    if ids.are_derived:
        own = {job.id for job in asked.jobs}  # what they stand for is told job by job
        derived = [job for job in jobs if job.id not in own]
        beyond = [ids.of(str(number)) for number in range(len(asked.jobs), MAX_JOBS)]
        await _check_repeated(services, derived, beyond)
    await services.queues.take_room(asked.model, len(jobs))
    accepted = iter(await services.write_batcher.submit(jobs))
    return AcceptedRun(
        run=run,
        jobs=[
            _refused(each) if isinstance(each, JobError) else _taken(each.id, next(accepted))
            for each in outcomes
        ],
    )


async def _check_repeated(
    services: Services, jobs: Sequence[SubmittedJob], beyond: Sequence[str]
) -> None:
    """Refuse a key that stood for another request, before any of this one is submitted.

    Parameters:
        jobs: those whose ids are made of the key.
        beyond: the ids that a longer request would have had.

    Raises:
        Problem: it did.
    """
    ids = [job.id for job in jobs]
    known = await services.executors.database.run(services.database.jobs.get_many, [*ids, *beyond])
    if known and (set(known) != set(ids) or not all(is_same(job, known[job.id]) for job in jobs)):
        raise _conflict(derived=True)


def _submitted(
    models: Models, model: str, asked: JobIn, *, id: str, run: str | None, **options: Any
) -> SubmittedJob:
    models.require(model, InputKind.TEXT if asked.image is None else InputKind.IMAGE)
    _check_address(id, "/thumbnail")
    if run is not None:
        _check_address(run, "/throughput")
    image = asked.image.model_dump(exclude_none=True) if asked.image is not None else None
    job = parse_job(job_kwargs(text=asked.text, image=image, top_k=asked.top_k, run=run))
    return SubmittedJob.of(
        job, id=check_id(id), model=model, enqueued_at=datetime.now(UTC), **options
    )


def _check_address(id: str, below: str) -> None:
    """Refuse an id under whose URL something else would be found.

    Raises:
        JobError: it is one.
    """
    if id in (".", "..") or id.endswith(below):
        raise JobError(
            ErrorCode.INVALID_JOB, f"an id is neither . nor .. and does not end in {below}"
        )


def _refused(error: JobError) -> Refused:
    return Refused(error=Fault(code=error.code, message=error.message))


def _taken(job_id: str, accepted: bool | JobError) -> AcceptedJob | Refused:
    if isinstance(accepted, JobError):
        return _refused(accepted)
    return AcceptedJob(id=job_id, url=job_url(job_id)) if accepted else Refused(error=_DUPLICATE)


def _conflict(*, derived: bool) -> Problem:
    if derived:
        return Problem(
            409, "idempotency_conflict", "this Idempotency-Key came with another request before"
        )
    return Problem(409, _DUPLICATE.code, str(_DUPLICATE.message))
