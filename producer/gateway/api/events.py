"""``GET /v1/events``: results as server-sent events, as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from producer.gateway.access import Reader
from producer.gateway.contract import problems
from producer.gateway.services import Services, Shared
from producer.gateway.streams import Stream

router = APIRouter(tags=["results"])

_Text = Annotated[str | None, Query(max_length=1000)]


@router.get(
    "/v1/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}, **problems()},
)
async def get_events(
    services: Shared,
    _caller: Reader,
    run: _Text = None,
    model: _Text = None,
) -> StreamingResponse:
    """Jobs that get their rows from now on: `event: result`, whose data is a job.

    `event: missed` says how many were left out because they came faster than they could be read.
    """
    stream = Stream(run=run, model=model)
    services.watcher.open(stream)
    return StreamingResponse(_encoded(services, stream), media_type="text/event-stream")


async def _encoded(services: Services, stream: Stream) -> AsyncIterator[bytes]:
    try:
        async for part in stream.encoded():
            yield part
    finally:
        services.watcher.leave(stream)
