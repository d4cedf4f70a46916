"""``POST /v1/jobs``: texts and images, one or many."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from labelmill.gateway.bodies import kind_of, read_jobs, read_upload
from labelmill.gateway.dependencies import Submitter
from labelmill.gateway.jobs import run_url
from labelmill.gateway.openapi import problems, submission_body
from labelmill.gateway.requests import OneJob
from labelmill.gateway.schemas import Accepted, AcceptedRun
from labelmill.gateway.services import Shared
from labelmill.gateway.submission import Ids, submit_many, submit_one
from labelmill.gateway.uploads import store_upload

router = APIRouter(tags=["jobs"])

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="Asking again with the same key and content gives the same answer.",
    ),
]


@router.post(
    "/v1/jobs",
    status_code=202,
    response_model=Accepted | AcceptedRun,
    responses=problems(400, 408, 409, 413, 415, 422, 429, 503),
    openapi_extra=submission_body(),
)
async def submit(
    request: Request, response: Response, services: Shared, caller: Submitter, key: Key = None
) -> Accepted | AcceptedRun:
    """Submit a text or an image, or up to 1,000 of them as one run.

    JSON with `text` or `image` is one job, with `jobs` many; files go as `multipart/form-data`,
    with the field `model`. What is accepted has its row in the ledger, and will have its result.
    """
    if kind_of(request) == "json":
        asked = await read_jobs(request, services.settings.max_body_bytes)
    else:
        async with read_upload(request, services.settings.max_upload_bytes) as upload:
            asked = await store_upload(services, upload)
    ids = Ids(caller.id, key)
    if isinstance(asked, OneJob):
        accepted = await submit_one(services, ids, asked)
        response.headers["Location"] = accepted.url
        return accepted
    run = await submit_many(services, ids, asked)
    response.headers["Location"] = run_url(run.run)
    return run
