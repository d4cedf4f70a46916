"""Celery's own loop, which brings remote control and maintenance: no Redis ends it, or floods."""

from __future__ import annotations

import logging
import time
import warnings
from typing import Any

from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer as CelerysConsumer

_PAUSE_SECONDS = 1.0
# Longer than Celery's longest pause between two attempts to connect.
_SAME_EPISODE_SECONDS = 40.0
_LOGGERS = ("celery.worker.consumer.consumer", "celery.worker.consumer.connection")


class Consumer(CelerysConsumer):  # type: ignore[misc]  # Celery has no types
    """Celery's, and bears a Redis that answers at once and refuses, for any time."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        once = OncePerEpisode(_SAME_EPISODE_SECONDS)
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(once)
        # Told at each lost connection, of a setting that our tasks do not need.
        warnings.filterwarnings(
            "ignore", message="\\s*In Celery 5.1", category=CPendingDeprecationWarning
        )

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """As Celery's, and leave Redis alone for a moment, or the loop would spin."""
        super().on_connection_error_before_connected(exc)
        time.sleep(_PAUSE_SECONDS)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """The same."""
        super().on_connection_error_after_connected(exc)
        time.sleep(_PAUSE_SECONDS)


class OncePerEpisode(logging.Filter):
    """Lets a message pass, and its repetitions only after some quiet.

    Parameters:
        seconds: how long nothing must have been said in those words.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._heard: dict[object, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is said."""
        heard = self._heard.get(record.msg)
        self._heard[record.msg] = record.created
        return heard is None or record.created - heard > self._seconds
