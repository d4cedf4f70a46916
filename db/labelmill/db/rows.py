"""Rows on their way into the database.

A group of jobs is one transaction, so whatever the database would refuse in one row would take
the others with it. Here every row is brought into a form that both databases accept, or refused
before anything is written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from labelmill.core.ids import MAX_ID_LENGTH
from labelmill.core.json import JsonValue
from labelmill.core.ledger import JobRow, LedgerRow
from labelmill.core.result import ResultRow, Status

_REFUSED = re.compile("[\x00\ud800-\udfff]")


def due(sent_at: datetime, eta: datetime | None) -> datetime:
    """From when on a job is missed that was sent at ``sent_at``; see :class:`.tables.Job`."""
    return sent_at if eta is None else max(sent_at, eta)


def storable_text(text: str) -> str:
    """The text with U+FFFD for what PostgreSQL cannot store: NUL and lone surrogates."""
    # Nearly every text is clean, and this is the cheapest way to see it.
    if text.isascii() and "\x00" not in text:
        return text
    return _REFUSED.sub("\N{REPLACEMENT CHARACTER}", text)


def storable_name(text: str) -> str:
    """The text as :func:`storable_text` returns it, for an indexed column.

    Raises:
        ValueError: if it is longer than ``MAX_ID_LENGTH``.
    """
    if len(text) > MAX_ID_LENGTH:
        raise ValueError(f"longer than {MAX_ID_LENGTH} characters: {text[:40]!r}…")
    return storable_text(text)


def storable_results(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """The rows as both databases accept them: sorted by id, the first of each id.

    Sorted, because two transactions that insert the same ids in different orders wait for each
    other, and PostgreSQL ends one of them.

    Raises:
        ValueError: if a number is not finite, a name is too long or a time has no zone.
    """
    return _first_of_each_id([_storable_result(row) for row in rows])


def storable_jobs(rows: Sequence[JobRow]) -> list[LedgerRow]:
    """The rows as both databases accept them: sorted by id, the first of each id.

    Raises:
        ValueError: if a number is not finite, a name is too long or a time has no zone.
    """
    return _first_of_each_id([_storable_job(row) for row in rows])


def storable_block(
    run_id: str,
    model: str,
    payloads: Mapping[str, Mapping[str, JsonValue]],
    enqueued_at: datetime,
) -> list[LedgerRow]:
    """Rows of a run that have all but id and payload in common, as :func:`storable_jobs`.

    Parameters:
        payloads: by the jobs' ids.
    """
    run_id, model = storable_name(run_id), storable_name(model)
    _zoned(enqueued_at)
    return [
        {
            "id": storable_name(id),
            "run_id": run_id,
            "model": model,
            "payload": _storable_payload(payloads[id]),
            "priority": 0,
            "eta": None,
            "expires_at": None,
            "enqueued_at": enqueued_at,
            "due_at": enqueued_at,
        }
        for id in sorted(payloads)
    ]


_Row = TypeVar("_Row", ResultRow, LedgerRow)


def _first_of_each_id(rows: list[_Row]) -> list[_Row]:
    # Backwards, so that the first is the one that stays.
    unique = {row["id"]: row for row in reversed(rows)}
    return [unique[each] for each in sorted(unique)]


def _storable_result(row: ResultRow) -> ResultRow:
    score, scores = row["score"], row["scores"]
    return {
        "id": storable_name(row["id"]),
        "run_id": _optional(storable_name, row["run_id"]),
        "model": storable_name(row["model"]),
        "checkpoint": _optional(storable_text, row["checkpoint"]),
        "revision": _optional(storable_text, row["revision"]),
        "status": Status(row["status"]),
        "label": _optional(storable_text, row["label"]),
        "score": _optional(_finite, score),
        "scores": scores
        and [
            {"label": storable_text(each["label"]), "score": _finite(each["score"])}
            for each in scores
        ],
        "error_code": _optional(storable_text, row["error_code"]),
        "error_message": _optional(storable_text, row["error_message"]),
        "attempt": row["attempt"],
        "group_size": row["group_size"],
        "worker": storable_name(row["worker"]),
        "enqueued_at": _optional(_zoned, row["enqueued_at"]),
        "started_at": _zoned(row["started_at"]),
        "finished_at": _zoned(row["finished_at"]),
    }


def _storable_job(row: JobRow) -> LedgerRow:
    eta, enqueued_at = _optional(_zoned, row["eta"]), _zoned(row["enqueued_at"])
    return {
        "id": storable_name(row["id"]),
        "run_id": _optional(storable_name, row["run_id"]),
        "model": storable_name(row["model"]),
        "payload": _storable_payload(row["payload"]),
        "priority": row["priority"],
        "eta": eta,
        "expires_at": _optional(_zoned, row["expires_at"]),
        "enqueued_at": enqueued_at,
        "due_at": due(enqueued_at, eta),
    }


_In = TypeVar("_In")
_Out = TypeVar("_Out")


def _optional(convert: Callable[[_In], _Out], value: _In | None) -> _Out | None:
    return None if value is None else convert(value)


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError(f"not a finite number: {number}")
    return number


def _zoned(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"a time zone is needed: {moment!r} has none")
    return moment


def _storable_payload(payload: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {storable_text(key): _storable_json(value) for key, value in payload.items()}


def _storable_json(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, float):
        return _finite(value)
    if isinstance(value, list):
        return [_storable_json(item) for item in value]
    if isinstance(value, dict):
        return {storable_text(key): _storable_json(item) for key, item in value.items()}
    return value
