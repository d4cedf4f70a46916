"""Insisting: what a group needs is tried again for as long as it takes."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from celery.utils.log import get_logger

from labelmill.core.retry import RetryPolicy

logger = get_logger(__name__)

_FIRST_PAUSE_SECONDS = 0.1


def insisting(
    *errors: type[Exception], until: Event, on_wait: Callable[[], None] = lambda: None
) -> RetryPolicy:
    """Wait out these errors until an event is set.

    Parameters:
        on_wait: called before each pause.
    """

    def before_pause(error: BaseException, attempt: int, _seconds: float) -> None:
        on_wait()
        logger.warning("cannot commit: %s; attempt %d", type(error).__name__, attempt)

    return RetryPolicy(
        errors=errors, first_pause=_FIRST_PAUSE_SECONDS, until=until, on_wait=before_pause
    )
