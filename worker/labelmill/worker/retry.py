"""Retrying: what is away is tried again, at growing intervals with jitter."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from celery.utils.log import get_logger
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_random_exponential,
)

logger = get_logger(__name__)

_LONGEST_PAUSE_SECONDS = 5


def retrying(
    *errors: type[Exception], until: Event, on_wait: Callable[[], None] = lambda: None
) -> Retrying:
    """Call a function again as long as it raises one of these errors.

    Parameters:
        until: when set, ``tenacity.RetryError`` is raised instead.
        on_wait: called before each pause.
    """

    def before_sleep(state: RetryCallState) -> None:
        on_wait()
        error = state.outcome.exception() if state.outcome else None
        logger.warning("cannot commit: %s; attempt %d", type(error).__name__, state.attempt_number)

    return Retrying(
        retry=retry_if_exception_type(errors),
        wait=wait_random_exponential(multiplier=0.1, max=_LONGEST_PAUSE_SECONDS),
        stop=stop_when_event_set(until),
        sleep=sleep_using_event(until),
        before_sleep=before_sleep,
    )
