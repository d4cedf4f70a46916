"""The watchdog: ends a process that can neither go on nor end by itself."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from celery.platforms import EX_FAILURE
from celery.utils.log import get_logger
from celery.worker import state as celery_state

from labelmill.worker.pipeline import Pipeline
from labelmill.worker.settings import WorkerSettings

logger = get_logger(__name__)

_LOOK_SECONDS = 0.1
# Beyond the grace time, for what Celery does after the pipeline has stopped.
_LATE_SECONDS = 3.0


def _exit_now() -> None:
    # Not sys.exit: the thread that hangs, in a driver say, would be waited for.
    os._exit(EX_FAILURE)


class Watchdog:
    """Looks on from a thread of its own, which no device and no connection can hold up.

    - A group that is on the device for longer than ``forward_timeout``: the process ends. Its
      leases expire, so the attempt counts, and each of its jobs comes back alone.
    - A warm shutdown: the pipeline winds down at once, even while Celery waits for a Redis that is
      silent. If the process is still there after the grace time, it ends.
    - A cold shutdown, or a second signal of any kind: the process ends.

    Parameters:
        end: ends the process.
    """

    def __init__(
        self, pipeline: Pipeline, settings: WorkerSettings, *, end: Callable[[], None] = _exit_now
    ) -> None:
        self._pipeline = pipeline
        self._forward_timeout = settings.forward_timeout
        self._patience = settings.shutdown_grace + _LATE_SECONDS
        self._end = end
        self._signals = 0
        self._stopping_since: float | None = None

    def start(self) -> None:
        """Look on for as long as the process lives."""
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def hear(self, **_: object) -> None:
        """Note a signal that asks the process to end; for Celery's ``worker_shutting_down``."""
        # This runs inside the signal's handler, where no lock may be taken: only the thread acts.
        self._signals += 1

    def look(self) -> None:
        """Look once."""
        if _asked(celery_state.should_terminate) or self._signals > 1:
            self._bark("leaving now: the leases expire, and the jobs come back")
        elif 0 < self._forward_timeout < self._pipeline.device_seconds:
            self._bark(
                f"a group has been on the device for more than {self._forward_timeout:g} s"
                " (LABELMILL_FORWARD_TIMEOUT): the worker ends, and its jobs come back one by one"
            )
        elif _asked(celery_state.should_stop):
            self._pipeline.wind_down()
            now = time.monotonic()
            self._stopping_since = self._stopping_since or now
            if now - self._stopping_since > self._patience:
                self._bark("not ended within the grace time: leaving now")

    def _run(self) -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            self.look()

    def _bark(self, why: str) -> None:
        logger.critical(why)
        self._end()


def _asked(flag: int | bool | None) -> bool:
    # Celery's flags are exit codes; 0 is one.
    return flag is not None and flag is not False
