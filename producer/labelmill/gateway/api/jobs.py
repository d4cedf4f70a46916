"""``GET /v1/jobs/{id}``: a job, its thumbnail, and waiting for it."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from labelmill.core.job import Image
from labelmill.gateway.dependencies import Reader
from labelmill.gateway.jobs import has_thumbnail
from labelmill.gateway.openapi import problems
from labelmill.gateway.problems import Problem
from labelmill.gateway.schemas import JobOut
from labelmill.gateway.services import Services, Shared
from labelmill.media.thumbnail import thumbnail

router = APIRouter(tags=["jobs"])

_LONGEST_WAIT = 30.0
_KEPT = "private, max-age=86400, immutable"  # the image of a job never changes


@router.get(
    "/v1/jobs/{id:path}/thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/webp": {}}}, **problems(404, 413)},
)
async def get_thumbnail(id: str, services: Shared, _caller: Reader) -> Response:
    """A job's image, small, where it was uploaded or came with the job."""
    payload = await services.job_finder.payload(id)
    if payload is None or not has_thumbnail(payload):
        raise Problem(404, "not_found", "there is no image of a job of that id here")
    image = Image.model_validate(payload["image"])
    content = await services.executors.images.run(_thumbnail, services, image)
    return Response(content, media_type="image/webp", headers={"Cache-Control": _KEPT})


@router.get("/v1/jobs/{id:path}", responses=problems(404))
async def get_job(
    request: Request,
    id: str,
    services: Shared,
    _caller: Reader,
    wait: Annotated[
        str | None,
        Query(
            pattern=r"^[0-9]{1,3}(\.[0-9]{1,3})?s?$",
            description="Answer when the job is done, or after so many seconds, at most 30.",
            examples=["5s"],
        ),
    ] = None,
) -> JobOut:
    """A job: where it is and, once it is done, how it came out."""
    job = await services.job_finder.find(id)
    if job is not None and wait is not None and job.finished_at is None:
        await _wait(request, services, id, min(float(wait.removesuffix("s")), _LONGEST_WAIT))
        job = await services.job_finder.find(id)
    if job is None:
        raise Problem(404, "not_found", "there is no job of that id")
    return job


async def _wait(request: Request, services: Services, id: str, seconds: float) -> None:
    """Wait for a job's row, unless its caller goes away."""
    waiting = asyncio.ensure_future(services.watcher.wait(id, seconds))
    gone = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait([waiting, gone], return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            waiting.result()
    finally:
        waiting.cancel()
        gone.cancel()


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _thumbnail(services: Services, image: Image) -> bytes:
    if image.uri is None:
        return thumbnail(image.inline_bytes())
    return thumbnail(services.uploads.get(image.uri, services.settings.max_image_bytes))
