"""The job: what a message asks for, validated by the same code at both ends; and as submitted."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from labelmill.core.errors import ErrorCode, JobError
from labelmill.core.ids import MAX_ID_LENGTH, Name
from labelmill.core.json import JsonValue
from labelmill.core.names import MAX_NAME_LENGTH, printable_name
from labelmill.core.tasks import InputKind

TASK_NAME = "labelmill.classify"
SCHEMA_VERSION = 1

MAX_TEXT_BYTES = 256 * 1024  # of UTF-8; far beyond what any classifier reads
MAX_INLINE_IMAGE_BYTES = 1024 * 1024  # decoded; Redis is not an image store
MAX_URI_LENGTH = 2048
MAX_TOP_K = 1000
MAX_PRIORITY = 9  # the least urgent

Uri = Annotated[str, Field(min_length=1, max_length=MAX_URI_LENGTH)]
ImageName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)]
TopK = Annotated[int, Field(ge=1, le=MAX_TOP_K)]
Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH)]
Priority = Annotated[int, Field(ge=0, le=MAX_PRIORITY)]

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


def _printable(name: object) -> object:
    return printable_name(name) if isinstance(name, str) else name


class Image(BaseModel):
    """An image by reference (``uri``) or in the message itself (``base64``); exactly one.

    ``name`` is for people: the image is not found by it, and images that differ in nothing else
    are the same.
    """

    model_config = _STRICT

    uri: Uri | None = None
    base64: str | None = None
    name: Annotated[ImageName, BeforeValidator(_printable)] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.uri is None) == (self.base64 is None):
            raise ValueError("give exactly one of uri and base64")
        return self

    def inline_bytes(self) -> bytes:
        """The decoded ``base64``.

        Raises:
            JobError: it is not base64, or decodes to more than ``MAX_INLINE_IMAGE_BYTES``.
        """
        encoded = self.base64 or ""
        if len(encoded) > MAX_INLINE_IMAGE_BYTES * 4 // 3 + 4:
            raise JobError(
                ErrorCode.IMAGE_TOO_LARGE,
                f"an inline image is limited to {MAX_INLINE_IMAGE_BYTES:,} bytes; "
                "store it and send its uri",
            )
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise JobError(ErrorCode.INVALID_JOB, "image.base64 is not valid base64") from error


class Options(BaseModel):
    """What a job may ask for beyond its model's defaults."""

    model_config = _STRICT

    top_k: TopK | None = None


class Job(BaseModel):
    """The keyword arguments of one ``labelmill.classify`` message."""

    model_config = _STRICT

    text: str | None = None
    image: Image | None = None
    run: Id | None = None
    options: Options = Options()
    version: Literal[1] = 1

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.text is None) == (self.image is None):
            raise ValueError("give exactly one of text and image")
        return self

    @property
    def kind(self) -> InputKind:
        """What it holds."""
        return InputKind.TEXT if self.text is not None else InputKind.IMAGE

    @property
    def content(self) -> str | Image:
        """What is classified; jobs of equal content have equal scores."""
        if self.image is not None and self.image.name is not None:
            return self.image.model_copy(update={"name": None})
        return self.text if self.text is not None else self.image  # type: ignore[return-value]

    def to_kwargs(self) -> dict[str, Any]:
        """The keyword arguments that :func:`parse_job` turns back into this job."""
        return self.model_dump(exclude_defaults=True)


class SubmittedJob(NamedTuple):
    """A job as it is submitted: a row of the ledger, and what its message is made of.

    Attributes:
        model: the alias, which is also the queue.
        payload: the message's keyword arguments, as of :meth:`Job.to_kwargs`.
        priority: 0, the most urgent, to ``MAX_PRIORITY``.
        eta: not to be started before.
        expires_at: not to be started after.
        sent_at: given where it is not sent when it is enqueued, but later; the ledger has it not.
    """

    id: Name
    model: Name
    payload: Mapping[str, JsonValue]
    enqueued_at: datetime
    run_id: Name | None = None
    priority: int = 0
    eta: datetime | None = None
    expires_at: datetime | None = None
    sent_at: datetime | None = None

    @classmethod
    def of(cls, job: Job, *, id: str, model: str, enqueued_at: datetime, **options: Any) -> Self:
        """A validated job under an id; the options are ``priority``, ``eta``, ``expires_at``."""
        return cls(id, model, job.to_kwargs(), enqueued_at, job.run, **options)


def job_kwargs(
    *,
    text: str | None = None,
    image: Mapping[str, JsonValue] | None = None,
    top_k: int | None = None,
    run: str | None = None,
) -> dict[str, Any]:
    """The keyword arguments of a message, without those that are not given."""
    options = {"top_k": top_k} if top_k is not None else None
    given = {"text": text, "image": image, "run": run, "options": options}
    return {name: value for name, value in given.items() if value is not None}


def parse_job(kwargs: Mapping[str, object]) -> Job:
    """Validate the keyword arguments of a message.

    Raises:
        JobError: they are not a job of this version; the message names the field, never its value.
    """
    version = kwargs.get("version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        raise JobError(
            ErrorCode.UNSUPPORTED_VERSION,
            f"this worker reads version {SCHEMA_VERSION} of the job schema, "
            "the job has another; upgrade the older end",
        )
    try:
        job = Job.model_validate(kwargs)
    except ValidationError as error:
        raise JobError(ErrorCode.INVALID_JOB, _describe(error)) from None
    if job.text is not None:
        _check_text(job.text)
    elif job.image is not None and job.image.base64 is not None:
        job.image.inline_bytes()
    return job


def check_id(job_id: object) -> str:
    """Return the id when it can be the primary key of a result row.

    Raises:
        JobError: it is not a string of 1 to ``MAX_ID_LENGTH`` characters that a database can hold.
    """
    if not isinstance(job_id, str) or not 1 <= len(job_id) <= MAX_ID_LENGTH:
        raise JobError(
            ErrorCode.INVALID_JOB, f"a job id is a string of 1 to {MAX_ID_LENGTH} characters"
        )
    if not job_id.isprintable():
        raise JobError(ErrorCode.INVALID_JOB, "a job id has only printable characters")
    return job_id


def _check_text(text: str) -> None:
    if not text:
        raise JobError(ErrorCode.INVALID_JOB, "text is empty; send at least one character")
    # A character takes 1 to 4 bytes: most texts are settled without encoding them.
    if len(text) * 4 <= MAX_TEXT_BYTES:
        return
    if len(text) > MAX_TEXT_BYTES or len(text.encode(errors="surrogatepass")) > MAX_TEXT_BYTES:
        raise JobError(
            ErrorCode.TEXT_TOO_LARGE,
            f"a text is limited to {MAX_TEXT_BYTES:,} bytes of UTF-8; split it",
        )


def _describe(error: ValidationError) -> str:
    problems = (
        f"{'.'.join(str(part) for part in problem['loc']) or 'job'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False, include_context=False)
    )
    return "; ".join(problems)
