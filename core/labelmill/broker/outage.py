"""An outage: Redis is away or refuses, and several threads wait for it; told once."""

from __future__ import annotations

import logging
import threading
import time

from labelmill.broker.connection import reason_of
from labelmill.broker.refusals import refusal_of

logger = logging.getLogger(__name__)


class Outage:
    """Says once why Redis is waited for, and once that it is over. Safe between threads.

    An outage begins when the first of its callers notes a failure and ends when none has noted one
    since it last succeeded. Another reason, such as LOADING after a lost connection, is said too,
    once an outage.

    Parameters:
        meanwhile: what becomes of the work, for the log.
    """

    def __init__(self, meanwhile: str) -> None:
        self._meanwhile = meanwhile
        self._lock = threading.Lock()
        self._failing: set[str] = set()
        self._said: set[str] = set()
        self._since = 0.0

    @property
    def lasts(self) -> bool:
        """Whether somebody waits for Redis now."""
        return bool(self._failing)

    def note(self, caller: str, error: BaseException) -> None:
        """A caller's call failed; it waits, and tries again."""
        reason = refusal_of(error) or type(error).__name__
        with self._lock:
            if not self._failing:
                self._since = time.monotonic()
                self._said.clear()
            self._failing.add(caller)
            if reason in self._said:
                return
            self._said.add(reason)
        logger.warning("%s; %s", reason_of(error), self._meanwhile)

    def over(self, caller: str) -> None:
        """A caller's call succeeded."""
        if caller not in self._failing:
            return
        with self._lock:
            self._failing.discard(caller)
            if self._failing:
                return
            seconds = time.monotonic() - self._since
        logger.warning("Redis answers again, after %.0f s", seconds)
