"""The events: what is said of a finished job on the stream ``labelmill:finished``.

The worker that acknowledges a group appends one entry for it, in the same step: its field ``jobs``
is the JSON list of the group's events. Each follows its committed row, and may come twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypedDict

from pydantic_core import from_json

from labelmill.core.result import Result
from labelmill.core.states import Status
from labelmill.core.text import json_bytes

STREAM = "labelmill:finished"
FIELD = b"jobs"


class JobFinished(TypedDict):
    """One finished job; the same fields, with the same values, as its row."""

    id: str
    model: str
    run: str | None
    status: Literal["succeeded", "failed"]
    label: str | None
    score: float | None
    error_code: str | None


def of_results(results: Iterable[Result]) -> list[JobFinished]:
    """The events of rows."""
    return [
        {
            "id": result.id,
            "model": result.model,
            "run": result.run_id,
            # An enumeration's member is slow to ask for its value, and to encode.
            "status": "succeeded" if result.status is Status.SUCCEEDED else "failed",
            "label": result.label,
            "score": result.score,
            "error_code": result.error_code,
        }
        for result in results
    ]


def encode(events: Sequence[JobFinished]) -> bytes:
    """The value of an entry's field ``jobs``."""
    return json_bytes(events)


def decode(value: bytes) -> list[JobFinished]:
    """The events of an entry's field ``jobs``.

    Raises:
        ValueError: it is no list of objects in JSON; no worker wrote it.
    """
    events: list[JobFinished] = from_json(value)
    if not isinstance(events, list) or not all(isinstance(a, dict) for a in events):
        raise ValueError("an entry's field 'jobs' is a list of objects")
    return events
