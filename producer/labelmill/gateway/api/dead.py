"""``/v1/dead``: dead letters, and replaying them."""

from __future__ import annotations

import itertools
from typing import Annotated

from fastapi import APIRouter, Query, Response

from labelmill.gateway.dependencies import Admin, Reader
from labelmill.gateway.jobs import job_url
from labelmill.gateway.openapi import problems
from labelmill.gateway.problems import Problem
from labelmill.gateway.schemas import DeadLetterOut, DeadLettersOut, Replayed
from labelmill.gateway.services import Services, Shared
from labelmill.recovery import dead_letters

router = APIRouter(tags=["dead letters"])

_SHOWN = 500


@router.get("/v1/dead", responses=problems())
async def get_dead(
    services: Shared,
    _caller: Reader,
    model: Annotated[str | None, Query(max_length=255)] = None,
) -> DeadLettersOut:
    """The newest 500 jobs that ended their worker each time, or whose rows the database refused.

    Never what is in them.
    """

    def load() -> list[tuple[str, str, str | None]]:
        queues = services.dead.queues() if model is None else [model]
        letters = itertools.chain.from_iterable(map(services.dead.of, queues))
        return [(each.id, each.queue, each.reason) for each in itertools.islice(letters, _SHOWN)]

    letters = await services.executors.redis.run(load)
    rows = await services.executors.database.run(
        services.database.results.get_many, [job_id for job_id, _, _ in letters]
    )
    described = []
    for job_id, queue, reason in letters:
        row = rows.get(job_id)
        described.append(
            DeadLetterOut(
                id=job_id,
                model=queue,
                died_at=row and row.finished_at,
                reason=reason or (row and row.error_message),
                attempts=row and row.attempt,
            )
        )
    return DeadLettersOut(dead=described)


@router.post("/v1/dead/{id:path}/replay", status_code=202, responses=problems(404, 409))
async def replay(id: str, response: Response, services: Shared, _caller: Admin) -> Replayed:
    """Put the job of a dead letter back into its queue, as a new job."""
    new_id = await services.executors.redis.run(_replay, services, id)
    response.headers["Location"] = job_url(new_id)
    return Replayed(id=new_id, url=job_url(new_id))


def _replay(services: Services, id: str) -> str:
    letter = _letter(services.dead, id)
    if letter is None:
        raise Problem(404, "not_found", "there is no dead letter of a job of that id")
    if not services.dead.replay(letter):
        raise Problem(409, "replayed_before", f"it was replayed as {letter.replay_id} before")
    return letter.replay_id


def _letter(letters: dead_letters.DeadLetters, id: str) -> dead_letters.DeadLetter | None:
    every = itertools.chain.from_iterable(map(letters.of, letters.queues()))
    return next((each for each in every if each.id == id), None)
