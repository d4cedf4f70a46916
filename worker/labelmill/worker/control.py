"""Remote control: what Celery's ``inspect`` and ``control`` commands mean to the pipeline.

A command that cannot do what its name says answers with an error that tells what to use instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from celery.worker.control import Panel, control_command, inspect_command
from kombu.entity import Queue

from labelmill.core.catalog import MAINTENANCE_QUEUE, Catalog
from labelmill.core.errors import ConfigurationError
from labelmill.core.job import TASK_NAME
from labelmill.worker.pipeline import Pipeline
from labelmill.worker.settings import WorkerSettings

_celerys_own = dict(Panel.data)
_signatures = dict(Panel.meta)

Answer = dict[str, Any]
Command = TypeVar("Command", bound=Callable[..., Any])

_POOL = (
    "the pool does maintenance alone, in a thread; for more workers: labelmill worker "
    "--per-device, or SIGTTIN and SIGTTOU to a supervisor"
)
_REFUSED = {
    "pool_grow": _POOL,
    "pool_shrink": _POOL,
    "pool_restart": _POOL,
    "autoscale": _POOL,
    "revoke_by_stamped_headers": "a job's stamps are not read; revoke it by its id",
    "election": "workers hold no elections: each takes jobs as it has room",
    # Its picture would show what jobs hold.
    "objgraph": "no graph is drawn of what a worker holds; memsample and memdump tell how much",
}


def _pipeline(state: Any) -> Pipeline:
    pipeline: Pipeline = state.consumer.controller.group_consumer.pipeline
    return pipeline


def _ok(text: str) -> Answer:
    return {"ok": text}


def _error(text: str) -> Answer:
    return {"error": text}


def _replaced(name: str) -> Callable[[Command], Command]:
    """Register in place of Celery's command of that name, with its arguments."""
    meta = _signatures[name]
    register = control_command if meta.type == "control" else inspect_command
    registered: Callable[[Command], Command] = register(
        name=name,
        alias=meta.alias,
        visible=meta.visible,
        default_timeout=meta.default_timeout,
        help=meta.help,
        signature=meta.signature,
        args=meta.args,
        variadic=meta.variadic,
    )
    return registered


def _refuse(name: str) -> None:
    """Answer Celery's command of that name with what to use instead."""
    _replaced(name)(lambda _state, **_: _error(_REFUSED[name]))


for _name in _REFUSED:
    _refuse(_name)


# Queues


@_replaced("add_consumer")
def add_consumer(state: Any, queue: str, **_: Any) -> Answer:
    """Take from a queue again that was paused."""
    pipeline = _pipeline(state)
    if queue in pipeline.models:
        resumed = pipeline.resume(queue)
        return _ok(f"taking from {queue}{'' if resumed else ', as before'}")
    if queue == MAINTENANCE_QUEUE:
        answer: Answer = _celerys_own["add_consumer"](state, queue)
        return answer
    if queue in _models_file():
        return _error(f"this worker has not loaded {queue!r}; start a worker with --models {queue}")
    return _error(
        f"{queue!r} is no model of models.toml, and this worker's Celery side reads "
        f"{MAINTENANCE_QUEUE!r} alone; run a worker of that queue's own app"
    )


@_replaced("cancel_consumer")
def cancel_consumer(state: Any, queue: str, **_: Any) -> Answer:
    """Take nothing more from a queue; what is in hand is finished."""
    pipeline = _pipeline(state)
    if queue in pipeline.models:
        pipeline.pause(queue)
        return _ok(
            f"{queue} is paused on this worker, until add_consumer {queue} or its next start; what "
            "is in hand is finished"
        )
    if queue == MAINTENANCE_QUEUE:
        answer: Answer = _celerys_own["cancel_consumer"](state, queue)
        return answer
    return _error(f"this worker does not take from {queue!r}: nothing to pause")


@_replaced("active_queues")
def active_queues(state: Any) -> list[Answer]:
    """The queues that are taken from: the models' that are not paused, and Celery's own."""
    pipeline = _pipeline(state)
    ours = [
        Queue(model, routing_key=model).as_dict(recurse=True)
        for model in pipeline.models
        if model not in pipeline.paused
    ]
    return ours + list(_celerys_own["active_queues"](state))


def _models_file() -> Sequence[str]:
    try:
        return list(Catalog.load(WorkerSettings().models_file))
    except ConfigurationError:  # it has changed since the start
        return []


# Jobs; never their payload


@_replaced("active")
def active(state: Any, safe: bool = False, **kwargs: Any) -> list[Answer]:
    """The jobs on the device now, beside Celery's own active tasks."""
    return _told(state, _pipeline(state).active()) + list(
        _celerys_own["active"](state, safe=safe, **kwargs)
    )


@_replaced("reserved")
def reserved(state: Any, **kwargs: Any) -> list[Answer]:
    """The jobs that are prepared and wait for the device, beside Celery's own reserved tasks."""
    return _told(state, _pipeline(state).prepared()) + list(
        _celerys_own["reserved"](state, **kwargs)
    )


@_replaced("query_task")
def query_task(state: Any, ids: str | Sequence[str], **kwargs: Any) -> Answer:
    """What of these jobs is in this worker's hands, and where."""
    wanted = {ids} if isinstance(ids, str) else set(ids)
    found: Answer = _celerys_own["query_task"](state, list(wanted), **kwargs)
    pipeline = _pipeline(state)
    # On the device last: a job that was handed on between the two looks is there.
    for place, jobs in (("reserved", pipeline.prepared()), ("active", pipeline.active())):
        for each in _told(state, [job for job in jobs if job[0] in wanted]):
            found[each["id"]] = [place, each]
    return found


def _told(state: Any, jobs: Sequence[tuple[str, str]]) -> list[Answer]:
    """What Celery tells of a task, for jobs by id and model."""
    hostname = state.consumer.controller.hostname
    return [
        {
            "id": job_id,
            "name": TASK_NAME,
            "type": TASK_NAME,
            "args": [],
            "kwargs": {},
            "hostname": hostname,
            "time_start": None,
            "acknowledged": False,
            "delivery_info": {"exchange": "", "routing_key": model},
            "worker_pid": os.getpid(),
        }
        for job_id, model in jobs
    ]


# Withdrawing jobs


@_replaced("revoke")
def revoke(state: Any, task_id: str | Sequence[str], terminate: bool = False, **_: Any) -> Answer:
    """Let jobs end as revoked that this worker has not started."""
    answer: Answer = _celerys_own["revoke"](state, task_id, terminate=False)
    if not terminate:
        return answer
    wanted = {task_id} if isinstance(task_id, str) else set(task_id)
    started = [job_id for job_id, _ in _pipeline(state).active() if job_id in wanted]
    if started:
        return _error(
            f"on the device, and not to be ended: {', '.join(started)}; a group runs as a whole, "
            "and its rows are written. What has not started ends as revoked"
        )
    return answer


@_replaced("terminate")
def terminate(state: Any, task_id: str | Sequence[str], **_: Any) -> Answer:
    """As revoke: no signal ends a job."""
    return revoke(state, task_id, terminate=True)


# Limits


@_replaced("rate_limit")
def rate_limit(state: Any, task_name: str, rate_limit: str, **kwargs: Any) -> Answer:
    """Of a task of maintenance."""
    if task_name == TASK_NAME:
        return _error(
            "jobs are taken in groups, as fast as the device is: cancel_consumer MODEL pauses it, "
            "group_size in models.toml makes groups smaller"
        )
    answer: Answer = _celerys_own["rate_limit"](state, task_name, rate_limit, **kwargs)
    return answer


@_replaced("time_limit")
def time_limit(_state: Any, task_name: str | None = None, **_: Any) -> Answer:
    """Not to be had: no thread can be ended."""
    if task_name == TASK_NAME:
        return _error(
            "LABELMILL_FORWARD_TIMEOUT bounds a group's time on the device, expires a job's until "
            "it is started"
        )
    return _error("tasks of maintenance run in a thread, which no time limit ends")
