"""Bodies: requests read under a limit, whatever their headers claim."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from fastapi import Request
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from labelmill.gateway.problems import Problem, of_validation
from labelmill.gateway.requests import MAX_JOBS, ManyJobs, OneJob

_READ_SECONDS = 60
_FIELDS = 16
_FIELD_BYTES = 1024
_MOST_QUOTES = 20 * MAX_JOBS  # a job with all its fields has 16
_MOST_PARTS = 10 * MAX_JOBS  # and 7 brackets and commas
_BESIDE_THE_LOOP = 64 * 1024  # a larger body would hold up the others while it is parsed


@dataclass(frozen=True, slots=True)
class UploadedFiles:
    """Files of one request, for one model."""

    fields: dict[str, str]
    files: Sequence[UploadFile]


def kind_of(request: Request) -> Literal["json", "multipart"]:
    """What a request holds.

    Raises:
        Problem: something else.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        return "json"
    if media_type == "multipart/form-data":
        return "multipart"
    raise Problem(
        415, "unsupported_media_type", "send application/json, or files as multipart/form-data"
    )


async def read_jobs(request: Request, limit: int) -> OneJob | ManyJobs:
    """The jobs of a JSON request.

    Raises:
        Problem: it is too large, too slow or not a job.
    """
    content = await _read(request, limit)
    if len(content) > _BESIDE_THE_LOOP:
        return await asyncio.to_thread(_parse, content)
    return _parse(content)


def _check_parts(content: bytes) -> None:
    """Refuse what has more parts than a request can have, before it is parsed.

    Of millions of them the parser, and the list of what is wrong with each, would take seconds,
    in which nobody else is answered.

    Raises:
        Problem: it has.
    """
    plain = content.replace(b"\\\\", b"").replace(b'\\"', b"")
    if plain.count(b'"') <= _MOST_QUOTES:
        outside = b"".join(plain.split(b'"')[::2])  # of strings
        if sum(map(outside.count, (b",", b"[", b"{"))) <= _MOST_PARTS:
            return
    raise Problem(
        422, "invalid_request", f"body: more fields than {MAX_JOBS:,} jobs have; send it in parts"
    )


class _Shape(BaseModel):
    """Which of the two it is; each has its own messages."""

    jobs: object = None


_SHAPE = TypeAdapter(_Shape)
_ONE = TypeAdapter(OneJob)
_MANY = TypeAdapter(ManyJobs)


def _parse(content: bytes) -> OneJob | ManyJobs:
    _check_parts(content)
    # Straight from the bytes: this parser refuses NaN, lone surrogates and deep nesting.
    try:
        many = "jobs" in _SHAPE.validate_json(content).model_fields_set
        return _MANY.validate_json(content) if many else _ONE.validate_json(content)
    except ValidationError as error:
        raise of_validation(error) from None


async def _read(request: Request, limit: int) -> bytes:
    _check_length(request, limit)
    try:
        async with asyncio.timeout(_READ_SECONDS):
            return b"".join([part async for part in _limited(request, limit)])
    except TimeoutError:
        raise _too_slow() from None
    except ClientDisconnect:
        raise _ended_early() from None


@asynccontextmanager
async def read_upload(request: Request, limit: int) -> AsyncIterator[UploadedFiles]:
    """The fields and files of a multipart request, as long as the block runs.

    Raises:
        Problem: it is too large, too slow or not well-formed.
    """
    _check_length(request, limit)
    parser = _Parser(
        request.headers,
        _limited(request, limit),
        max_files=MAX_JOBS,
        max_fields=_FIELDS,
        max_part_size=_FIELD_BYTES,
    )
    try:
        yield _upload(await _parsed(parser))
    finally:
        parser.close()


async def _parsed(parser: _Parser) -> FormData:
    try:
        async with asyncio.timeout(_READ_SECONDS):
            form = await parser.parse()
    except MultiPartException as error:
        raise Problem(422, "invalid_multipart", error.message) from None
    except TimeoutError:
        raise _too_slow() from None
    except ClientDisconnect:
        raise _ended_early() from None
    if not parser.has_ended:
        raise Problem(422, "invalid_multipart", "it ends in the middle")
    return form


class _Parser(MultiPartParser):
    """Starlette's, which takes a body that ends in the middle and then leaves its file open."""

    has_ended = False

    def on_end(self) -> None:
        self.has_ended = True

    def close(self) -> None:
        for file in self._files_to_close_on_error:
            file.close()


def _upload(form: FormData) -> UploadedFiles:
    fields: dict[str, str] = {}
    files = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            files.append(value)
        elif name in fields:
            raise Problem(422, "invalid_request", "a field was given twice")
        else:
            fields[name] = value
    return UploadedFiles(fields, files)


async def _limited(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    size = 0
    async for part in request.stream():
        size += len(part)
        _check_size(size, limit)
        yield part


def _check_length(request: Request, limit: int) -> None:
    claimed = request.headers.get("content-length", "0")
    if claimed.isdecimal():
        _check_size(int(claimed), limit)


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise Problem(413, "request_too_large", f"a request is limited to {limit:,} bytes")


def _too_slow() -> Problem:
    return Problem(408, "request_timeout", "the request took too long to arrive")


def _ended_early() -> Problem:
    return Problem(400, "bad_request", "the request ended early")
