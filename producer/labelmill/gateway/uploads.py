"""Uploads: files of a request into the upload store, and what jobs ask for them."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import UploadFile

from labelmill.core.errors import ErrorCode, JobError
from labelmill.core.names import file_name
from labelmill.core.tasks import InputKind
from labelmill.gateway.bodies import UploadedFiles
from labelmill.gateway.problems import Problem, of_job, of_validation
from labelmill.gateway.requests import ImageIn, JobIn, ManyJobs, OneJob
from labelmill.gateway.services import Services

_FIELDS = frozenset({"model", "run", "top_k"})

# By their first bytes: what no worker could read is refused before it is stored.
_SIGNATURES = (
    (0, b"\xff\xd8\xff"),
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"GIF87a"),
    (0, b"GIF89a"),
    (0, b"BM"),
    (0, b"II*\x00"),
    (0, b"MM\x00*"),
    (8, b"WEBP"),
    (4, b"ftypavif"),
    (4, b"ftypavis"),
)

_ONE = TypeAdapter(OneJob)
_MANY = TypeAdapter(ManyJobs)


async def store_upload(services: Services, upload: UploadedFiles) -> OneJob | ManyJobs:
    """Put the files into the store; returns the jobs that refer to them.

    One file is one job; several are a run, in their order.

    Raises:
        Problem: it is not well-formed, or a file is no image or too large.
        ServiceUnavailable: the store does not answer.
    """
    fields = _checked(upload.fields)
    if not upload.files:
        raise Problem(422, "invalid_request", "give at least one file, in a part called file")
    services.models.require(str(fields["model"]), InputKind.IMAGE)
    images = []
    for file in upload.files:
        content = await _content(file, services.settings.max_image_bytes)
        uri = await services.executors.files.run(services.uploads.put, content)
        image = ImageIn(uri=uri, name=file_name(file.filename or ""))
        images.append(JobIn(image=image).model_dump(exclude_none=True))
    top_k = {"top_k": fields.pop("top_k")} if "top_k" in fields else {}
    try:
        if len(images) == 1:
            return _ONE.validate_python(fields | top_k | images[0])
        return _MANY.validate_python(fields | {"jobs": [each | top_k for each in images]})
    except ValidationError as error:
        raise of_validation(error) from None


def _checked(fields: Mapping[str, str]) -> dict[str, str | int]:
    unknown = sorted(set(fields) - _FIELDS)
    if unknown or "model" not in fields:
        raise Problem(422, "invalid_request", "the fields are model and, if you like, run, top_k")
    checked: dict[str, str | int] = dict(fields)
    if "top_k" in fields:
        top_k = fields["top_k"]
        if not (top_k.isascii() and top_k.isdecimal()):
            raise Problem(422, "invalid_request", "top_k: not a number")
        checked["top_k"] = int(top_k)
    return checked


async def _content(file: UploadFile, limit: int) -> bytes:
    if file.size is not None and file.size > limit:
        raise of_job(
            JobError(ErrorCode.IMAGE_TOO_LARGE, f"an image file is limited to {limit:,} bytes")
        )
    content = await file.read()
    if not any(content[at:].startswith(mark) for at, mark in _SIGNATURES):
        raise Problem(
            415,
            ErrorCode.IMAGE_UNREADABLE,
            "the file is no image of a known format; send JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF",
        )
    return content
