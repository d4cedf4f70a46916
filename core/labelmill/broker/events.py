"""The announcement: what is said of a finished job on the stream ``labelmill:finished``.

The worker that acknowledges a group appends one entry for it, in the same step: its field ``jobs``
is the JSON list of the group's announcements. Each follows its committed row, and may come twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol, TypedDict

from pydantic_core import from_json, to_json

from labelmill.core.result import ResultRow, Status

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


class Finished(Protocol):
    """A row as it was read: :class:`labelmill.db.tables.Result`, which no broker knows."""

    @property
    def id(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def run_id(self) -> str | None: ...
    @property
    def status(self) -> Status: ...
    @property
    def label(self) -> str | None: ...
    @property
    def score(self) -> float | None: ...
    @property
    def error_code(self) -> str | None: ...


def of_rows(rows: Iterable[ResultRow]) -> list[JobFinished]:
    """The announcements of rows as they were written."""
    return [
        {
            "id": row["id"],
            "model": row["model"],
            "run": row["run_id"],
            # An enumeration's member is slow to ask for its value, and to encode.
            "status": "succeeded" if row["status"] is Status.SUCCEEDED else "failed",
            "label": row["label"],
            "score": row["score"],
            "error_code": row["error_code"],
        }
        for row in rows
    ]


def of_results(results: Iterable[Finished]) -> list[JobFinished]:
    """The announcements of rows as they were read."""
    return [
        {
            "id": result.id,
            "model": result.model,
            "run": result.run_id,
            "status": result.status.value,
            "label": result.label,
            "score": result.score,
            "error_code": result.error_code,
        }
        for result in results
    ]


def encode(announcements: Sequence[JobFinished]) -> bytes:
    """The value of an entry's field ``jobs``."""
    try:
        return to_json(announcements)
    except ValueError:
        # A lone surrogate has no UTF-8; the standard library escapes it.
        return json.dumps(announcements).encode()


def decode(value: bytes) -> list[JobFinished]:
    """The announcements of an entry's field ``jobs``.

    Raises:
        ValueError: it is no list of objects in JSON; no worker wrote it.
    """
    announcements: list[JobFinished] = from_json(value)
    if not isinstance(announcements, list) or not all(isinstance(a, dict) for a in announcements):
        raise ValueError("an entry's field 'jobs' is a list of objects")
    return announcements
