"""Remote control: what ``celery inspect`` tells of the pipeline."""

from __future__ import annotations

from typing import Any

from celery.worker.control import Panel, inspect_command

from labelmill.core.job import TASK_NAME

_celerys_own = Panel.data["active"]


@inspect_command(alias="dump_active", name="active")  # type: ignore[untyped-decorator]
def active(state: Any, safe: bool = False, **kwargs: Any) -> list[dict[str, Any]]:
    """The jobs on the device now, beside Celery's own active tasks; never their payload."""
    worker = state.consumer.controller
    jobs = [
        {"id": job_id, "name": TASK_NAME, "hostname": worker.hostname, "acknowledged": False}
        for job_id in worker.group_consumer.pipeline.active()
    ]
    return jobs + list(_celerys_own(state, safe=safe, **kwargs))
