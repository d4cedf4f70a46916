"""Problems: every answer that is not a success, as RFC 9457 describes it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from labelmill.core.errors import (
    BrokerUnavailable,
    ConfigurationError,
    DatabaseUnavailable,
    ErrorCode,
    JobError,
    LabelmillError,
    SchemaOutOfDate,
    ServiceUnavailable,
    UploadStoreUnavailable,
)

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5

_SHOWN = 5  # faults of one request
_NAME_LENGTH = 64  # of a field, which the request may have made up

_STATUS_OF_JOB_ERRORS = {ErrorCode.TEXT_TOO_LARGE: 413, ErrorCode.IMAGE_TOO_LARGE: 413}


class Problem(Exception):
    """A request that is answered with a problem.

    Parameters:
        status: of HTTP.
        code: a stable word for programs.
        detail: what to do about it, for people; never a part of a payload.
        headers: more headers of the answer.
    """

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        """The answer."""
        return JSONResponse(
            {
                "type": "about:blank",
                "title": HTTPStatus(self.status).phrase,
                "status": self.status,
                "detail": self.detail,
                "code": self.code,
            },
            self.status,
            self.headers,
            MEDIA_TYPE,
        )


def try_again(status: int, code: str, detail: str, seconds: int = RETRY_SECONDS) -> Problem:
    """A problem that goes away by itself."""
    return Problem(status, code, detail, {"Retry-After": str(seconds)})


def of_job(error: JobError) -> Problem:
    """A job that can never be done."""
    return Problem(_STATUS_OF_JOB_ERRORS.get(error.code, 422), error.code, error.message)


def of_validation(error: ValidationError | RequestValidationError) -> Problem:
    """A request that does not fit the schema; the detail names fields, never their values."""
    # FastAPI's errors hold the values, pydantic's can leave them out.
    faults = error.errors() if isinstance(error, RequestValidationError) else _faults(error)
    shown = "; ".join(
        f"{'.'.join(str(name)[:_NAME_LENGTH] for name in fault['loc']) or 'body'}: {fault['msg']}"
        for fault in faults[:_SHOWN]
    )
    return Problem(422, "invalid_request", shown)


def of_error(error: Exception) -> Problem:
    """What any error of ours is to a caller; nothing of our servers' addresses."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, JobError):
        return of_job(error)
    if isinstance(error, BrokerUnavailable):
        return try_again(503, "redis_away", "Redis does not answer; try again soon")
    if isinstance(error, DatabaseUnavailable):
        return try_again(503, "database_away", "the database does not answer; try again soon")
    if isinstance(error, UploadStoreUnavailable):
        return try_again(503, "store_away", "the upload store does not answer; try again soon")
    if isinstance(error, ServiceUnavailable):
        return try_again(
            503, "unavailable", "Redis or the database does not answer; try again soon"
        )
    if isinstance(error, SchemaOutOfDate):
        return try_again(
            503, "schema_out_of_date", "the database is of another version: labelmill db upgrade"
        )
    if isinstance(error, ConfigurationError):
        return try_again(503, "misconfigured", "the gateway's settings cannot be used; see its log")
    return Problem(500, "internal_error", "an error of the gateway; see its log")


def install(app: FastAPI) -> None:
    """Let every error of the application be answered with its problem."""

    async def ours(_request: Request, error: Exception) -> JSONResponse:
        problem = of_error(error)
        if problem.status >= 500:
            logger.warning("%s: %s", problem.code, error)
        return problem.response()

    async def invalid(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - what it is registered for
        return of_validation(error).response()

    async def http(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        return Problem(error.status_code, code, str(error.detail), error.headers).response()

    app.add_exception_handler(Problem, ours)
    app.add_exception_handler(LabelmillError, ours)
    app.add_exception_handler(Exception, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)


def _faults(error: ValidationError) -> list[Any]:
    return list(error.errors(include_url=False, include_input=False, include_context=False))
