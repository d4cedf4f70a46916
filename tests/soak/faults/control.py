"""Faults by remote control: what an operator, or Flower, may send to a worker."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

from celery import Celery
from kombu.exceptions import OperationalError
from redis import RedisError

from tests.soak.faults.fault import fault
from tests.soak.site import Busy, Site

_QUEUE = "scripted"
_ANSWER_S = 1.0
_DEAF_S = 30.0

#: Commands that change nothing for the jobs, or must not.
_HARMLESS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("add_consumer", {"queue": _QUEUE}),
    ("rate_limit", {"task_name": "labelmill.classify", "rate_limit": "1/m"}),
    ("time_limit", {"task_name": "labelmill.classify", "hard": 1, "soft": 1}),
    ("pool_grow", {"n": 1}),
    ("pool_shrink", {"n": 1}),
    ("autoscale", {"max": 2, "min": 1}),
    ("pool_restart", {"modules": []}),
    ("enable_events", {}),
    ("heartbeat", {}),
)


@fault("control-paused")
def _paused(site: Site, chance: random.Random) -> Iterator[float]:
    """One worker is told to take nothing from the queue, and a little later to go on."""
    post = site.one_of(site.workers, chance)
    process = post.process
    with site.taking(post):
        if not _answers(site, "cancel_consumer", {"queue": _QUEUE}, process.name):
            raise Busy
        yield chance.uniform(1, 8)
        # What is said while a connection is away is not heard.
        deadline = time.monotonic() + _DEAF_S
        while process.process.poll() is None and time.monotonic() < deadline:
            with suppress(Busy):
                if _answers(site, "add_consumer", {"queue": _QUEUE}, process.name):
                    break
            yield 0.5


@fault("control-revoked")
def _revoked(site: Site, chance: random.Random) -> Iterator[float]:
    """A job that nobody knows."""
    unknown = {"task_id": str(uuid4()), "terminate": chance.random() < 0.5}
    _answers(site, "revoke", unknown)
    yield 0


@fault("control-command")
def _command(site: Site, chance: random.Random) -> Iterator[float]:
    """One of those that every Celery worker knows."""
    _answers(site, *chance.choice(_HARMLESS))
    yield 0


def _answers(site: Site, name: str, arguments: dict[str, Any], *workers: str) -> list[Any]:
    """What these workers, or all, answer to a command.

    Raises:
        Busy: Redis is away by another fault.
    """
    site.need("redis")
    with Celery("operator", broker=site.redis.url) as app:
        try:
            answers = app.control.broadcast(
                name,
                arguments=arguments,
                destination=workers or None,
                reply=True,
                timeout=_ANSWER_S,
            )
        except (OSError, OperationalError, RedisError):
            raise Busy from None
    return answers or []
