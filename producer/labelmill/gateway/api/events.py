"""``GET /v1/events``: results as server-sent events, as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from labelmill.core.errors import ServiceUnavailable
from labelmill.gateway.dependencies import Reader
from labelmill.gateway.openapi import problems
from labelmill.gateway.services import Services, Shared
from labelmill.gateway.subscriptions import Subscription

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
    last: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            pattern=r"^[0-9]{1,18}-[0-9]{1,18}$",
            description="Begin after this event; by default with the next.",
        ),
    ] = None,
) -> StreamingResponse:
    """Jobs that get their rows from now on: `event: result`, whose data is a job.

    `event: missed` says how many were left out because they came faster than they could be read.
    """
    subscription = Subscription(run=run, model=model)
    return _Events(services, subscription, last)


class _Events(StreamingResponse):
    """An answer that goes on until its reader goes, or the gateway ends.

    Raises:
        Problem: too many are open.
    """

    def __init__(self, services: Services, subscription: Subscription, last: str | None) -> None:
        super().__init__(_encoded(services, subscription, last), media_type="text/event-stream")
        self._watcher, self._subscription = services.watcher, subscription
        self._watcher.subscribe(subscription)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._watcher.unsubscribe(self._subscription)


async def _encoded(
    services: Services, subscription: Subscription, last: str | None
) -> AsyncIterator[bytes]:
    # At once, so that the reader knows that it is heard.
    yield b": live\n\n"
    async for part in _caught_up(services, subscription, last):
        yield part
    async for part in subscription.encoded():
        yield part


async def _caught_up(
    services: Services, subscription: Subscription, last: str | None
) -> AsyncIterator[bytes]:
    """What came after an entry; some of it may come again with what is live."""
    while last is not None:
        try:
            last, events = await services.watcher.backlog(last, subscription)
        except ServiceUnavailable:
            return
        for event in events:
            yield event.encode()
