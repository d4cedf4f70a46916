"""The message: a job in Celery's message protocol 2, as kombu's Redis transport stores it.

Protocol: https://docs.celeryq.dev/en/stable/internals/protocol.html (version 2).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import socket
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic_core import from_json

from labelmill.core.errors import ErrorCode, JobError
from labelmill.core.job import TASK_NAME, Job, SubmittedJob, check_id, parse_job
from labelmill.core.text import json_bytes

#: Header in which our own client says when it enqueued; a bare ``send_task`` has none.
ENQUEUED_AT_HEADER = "enqueued_at"

#: Header in which it says when it sent a job that it did not send when it enqueued it.
SENT_AT_HEADER = "sent_at"

_ORIGIN = f"{os.getpid()}@{socket.gethostname()}"
_NO_CALLBACKS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class Message(NamedTuple):
    """One decoded message; ``error`` is set, and ``job`` is not, where no job could be read."""

    id: str
    job: Job | None
    error: JobError | None = None
    eta: datetime | None = None
    expires: datetime | None = None
    enqueued_at: datetime | None = None


def headers(
    job_id: str,
    *,
    enqueued_at: datetime,
    eta: datetime | None = None,
    expires: datetime | None = None,
    sent_at: datetime | None = None,
) -> dict[str, Any]:
    """The protocol-2 headers of a job; the reprs carry no payload."""
    head = {
        "lang": "py",
        "task": TASK_NAME,
        "id": job_id,
        "root_id": job_id,
        "parent_id": None,
        "group": None,
        "eta": eta.isoformat() if eta else None,
        "expires": expires.isoformat() if expires else None,
        "retries": 0,
        "timelimit": [None, None],
        "argsrepr": "()",
        "kwargsrepr": "{…}",
        "origin": _ORIGIN,
        "ignore_result": True,
        ENQUEUED_AT_HEADER: enqueued_at.isoformat(),
    }
    if sent_at is not None:
        head[SENT_AT_HEADER] = sent_at.isoformat()
    return head


def body(kwargs: Mapping[str, Any]) -> list[Any]:
    """The protocol-2 body of a job: positional arguments, keyword arguments, callbacks."""
    return [[], kwargs, _NO_CALLBACKS]


def encode(job: SubmittedJob) -> bytes:
    """The entry of a queue's list that kombu would write for this job."""
    id = json_bytes(job.id)
    return _ENVELOPE % (
        binascii.b2a_base64(json_bytes(body(job.payload)), newline=False),
        id,
        id,
        _shared_headers(job.enqueued_at, job.eta, job.expires_at, job.sent_at),
        id,
        _shared_properties(job.model, job.priority),
        os.urandom(16).hex().encode(),
    )


# What the jobs that are sent together have in common is made once for all of them, and the rest
# put into it: one document a job takes three times as long. The id is followed by delivery_mode, by
# which message.lua finds its end.
_ENVELOPE = (
    b'{"body":"%b","content-encoding":"utf-8","content-type":"application/json",'
    b'"headers":{"id":%b,"root_id":%b,%b},'
    b'"properties":{"correlation_id":%b,%b,"delivery_tag":"%b"}}'
)


@lru_cache(maxsize=64)
def _shared_headers(
    enqueued_at: datetime,
    eta: datetime | None,
    expires: datetime | None,
    sent_at: datetime | None,
) -> bytes:
    head = headers("", enqueued_at=enqueued_at, eta=eta, expires=expires, sent_at=sent_at)
    del head["id"], head["root_id"]
    return _fields(head)


@lru_cache(maxsize=64)
def _shared_properties(queue: str, priority: int) -> bytes:
    return _fields(
        {
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": priority,
            "body_encoding": "base64",
        }
    )


def _fields(content: Mapping[str, Any]) -> bytes:
    """The fields of a JSON object, without its braces."""
    return json_bytes(content)[1:-1]


def decode(raw: bytes) -> Message:
    """Read one entry of a queue's list.

    Never raises for what a stranger may have written: a message that cannot be read comes back
    with its ``error``, under its own id, or under one derived from its bytes where it has none
    (so that the same bytes always give the same row).
    """
    job_id = None
    try:
        envelope = _json_object(raw, "the message")
        head = envelope.get("headers")
        if not isinstance(head, dict):
            raise _invalid("it has no headers; send it with Celery's message protocol 2")
        job_id = check_id(head.get("id"))
        if head.get("task") != TASK_NAME:
            raise JobError(
                ErrorCode.UNKNOWN_TASK, f"this queue takes only the task {TASK_NAME!r}; resend it"
            )
        kwargs = _kwargs(envelope)
        return Message(
            job_id,
            parse_job(kwargs),
            eta=_time(head, "eta"),
            expires=_time(head, "expires"),
            enqueued_at=_time(head, ENQUEUED_AT_HEADER),
        )
    except JobError as error:
        return Message(job_id or _derived_id(raw), None, error)
    except Exception:
        # Whatever else it is, it must not end the worker that reads it, and then the next one.
        return Message(job_id or _derived_id(raw), None, _invalid("it is damaged"))


def _derived_id(raw: bytes) -> str:
    return f"unreadable-{uuid.UUID(bytes=hashlib.sha256(raw).digest()[:16])}"


def _kwargs(envelope: dict[str, Any]) -> dict[str, Any]:
    if envelope.get("content-type") != "application/json":
        raise _invalid("its body is not JSON; set task_serializer='json'")
    if "compression" in envelope["headers"]:
        raise _invalid("its body is compressed; set task_compression=None")
    encoded = envelope.get("body")
    properties = envelope.get("properties")
    if not isinstance(encoded, str) or not isinstance(properties, dict):
        raise _invalid("it has no body or no properties")
    if properties.get("body_encoding") == "base64":
        try:
            content: str | bytes = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise _invalid("its body is not base64") from None
    else:
        content = encoded
    parts = _json(content, "its body")
    if not isinstance(parts, list) or len(parts) != 3 or not isinstance(parts[1], dict):
        raise _invalid("its body is not [args, kwargs, embed]")
    kwargs: dict[str, Any]
    args, kwargs, embed = parts
    if args:
        raise JobError(ErrorCode.INVALID_JOB, "send keyword arguments, not positional ones")
    if isinstance(embed, dict) and any(embed.values()):
        raise JobError(
            ErrorCode.INVALID_JOB, "callbacks, chains and chords are not run; read the result row"
        )
    return kwargs


def _json_object(raw: bytes, what: str) -> dict[str, Any]:
    value = _json(raw, what)
    if not isinstance(value, dict):
        raise _invalid(f"{what} is not a JSON object")
    return value


def _json(text: str | bytes, what: str) -> Any:
    try:
        return from_json(text, cache_strings="keys")
    except (ValueError, TypeError):
        # It is the faster parser and the stricter one: it refuses lone surrogates, deep nesting
        # and UTF-16, which Celery's clients may write.
        pass
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _invalid(f"{what} is not JSON") from None


def _time(head: dict[str, Any], name: str) -> datetime | None:
    value = head.get(name)
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        raise _invalid(f"its header {name!r} is not an ISO 8601 time") from None


def _invalid(why: str) -> JobError:
    return JobError(ErrorCode.INVALID_MESSAGE, f"the message cannot be read: {why}")
