"""The application: routes, page and headers put together."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp

from labelmill.core.errors import ErrorCode
from labelmill.gateway import openapi, problems
from labelmill.gateway.api import dead, events, jobs, models, probes, results, runs, submit
from labelmill.gateway.headers import SecurityHeaders
from labelmill.gateway.services import opened
from labelmill.gateway.settings import GatewaySettings

_PAGE = files("labelmill.gateway") / "page"


class Gateway(FastAPI):
    """FastAPI with what its own document does not know, and headers on every answer."""

    def build_middleware_stack(self) -> ASGIApp:
        """The application with all that is around it; the headers outermost, for errors too."""
        return SecurityHeaders(super().build_middleware_stack())

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = openapi.complete(super().openapi())
        return self.openapi_schema


def create_app(settings: GatewaySettings, *, is_open: bool) -> Gateway:
    """The gateway as an ASGI application.

    Parameters:
        is_open: whether only this machine can ask: then no token is needed while there is none,
            and requests for other hosts and from other sites are refused instead.

    Raises:
        ConfigurationError: when it starts, if a setting cannot be used.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opened(settings, is_open=is_open) as services:
            app.state.services = services
            yield

    app = Gateway(
        title="Labelmill",
        summary="Hugging Face classifiers behind a queue.",
        version=version("labelmill"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    for part in (submit, jobs, results, runs, models, dead, events, probes):
        app.include_router(part.router)
    _add_page(app)
    return app


def advice_module() -> str:
    """What the page says of each error code: a module of JavaScript, made of :class:`ErrorCode`."""
    advice = json.dumps({code.value: code.advice for code in ErrorCode}, indent=2)
    return f"""const ADVICE = {advice};

/** What to do about an error code; for codes of later versions, where to look. */
export function adviceFor(code) {{
  return ADVICE[code] ?? "The worker's log says more.";
}}

/** All error codes, for the filter. */
export const ERROR_CODES = Object.keys(ADVICE);
"""


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def index() -> FileResponse:
        return FileResponse(str(_PAGE / "index.html"))

    @app.api_route("/page/advice.js", methods=["GET", "HEAD"], include_in_schema=False)
    def advice() -> Response:
        return Response(advice_module(), media_type="text/javascript")

    app.mount("/page", StaticFiles(directory=str(_PAGE)))
