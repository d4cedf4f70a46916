"""Sameness: whether a job that is submitted is the one that the ledger has under its id."""

from __future__ import annotations

from collections.abc import Mapping

from labelmill.core.job import SubmittedJob
from labelmill.core.json import JsonValue
from labelmill.db.rows import storable_jobs


def is_same(new: SubmittedJob, kept: SubmittedJob) -> bool:
    """Whether both ask for the same: all but when they were submitted, and the names of images."""
    [row] = storable_jobs([new])
    return (
        row["run_id"] == kept.run_id
        and row["model"] == kept.model
        and _nameless(row["payload"]) == _nameless(kept.payload)
        and row["priority"] == kept.priority
        and row["eta"] == kept.eta
        and row["expires_at"] == kept.expires_at
    )


def _nameless(payload: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    image = payload.get("image")
    if not isinstance(image, dict):
        return dict(payload)
    return {**payload, "image": {key: each for key, each in image.items() if key != "name"}}
