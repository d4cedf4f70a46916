"""Advice: what to do about each kind of failure, as ``docs/reference/errors.md`` says it."""

from __future__ import annotations

ADVICE = {
    "invalid_message": "send it with Celery's JSON serializer, uncompressed",
    "unknown_task": "send it to a queue of its own",
    "invalid_job": "see the reference of the job",
    "unsupported_version": "upgrade the older end",
    "wrong_input_kind": "send it to the right queue",
    "text_too_large": "split it",
    "image_too_large": "scale it down, or raise LABELMILL_MAX_IMAGE_BYTES or …_PIXELS",
    "image_unreadable": "open it yourself; send JPEG or PNG",
    "image_forbidden": "see LABELMILL_IMAGE_ROOT and LABELMILL_IMAGE_SCHEMES",
    "image_not_found": "check the uri",
    "image_unavailable": "submit the job again later",
    "non_finite": 'try dtype = "float32"',
    "model_failed": "the worker's log says where",
    "out_of_memory": "use a larger device",
    "unstorable": "see what the engine gives for it; the worker's log has the refusal",
    "expired": "add workers, or allow more time",
    "revoked": "nothing: somebody revoked it",
    "poisoned": "look at its dead letter (labelmill dead show) before you replay it",
}
