"""The submissions: what was asked for, what was promised, and how it is to end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from itertools import count


class Submissions:
    """What all producers have submitted; safe to share between threads.

    Attributes:
        attempted: the ids that somebody has tried to submit.
        acknowledged: when each id was acknowledged, in seconds since 1970.
        expected: the error codes of which a job is to end with one; all others are to succeed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = count()
        self.attempted: set[str] = set()
        self.acknowledged: dict[str, float] = {}
        self.expected: dict[str, frozenset[str]] = {}

    def new_ids(self, number: int, *, ending_with: Iterable[str] = ()) -> list[str]:
        """Ids that are about to be submitted.

        Parameters:
            ending_with: the error codes that they may end with; none where they are to succeed.
        """
        with self._lock:
            ids = [f"soak-{next(self._numbers):08}" for _ in range(number)]
            self.attempted.update(ids)
            if codes := frozenset(ending_with):
                self.expected |= dict.fromkeys(ids, codes)
            return ids

    def acknowledge(self, ids: Sequence[str]) -> None:
        """Somebody was told that these are submitted."""
        now = time.time()
        with self._lock:
            for each in ids:
                self.acknowledged.setdefault(each, now)

    def outstanding(self, rows: int) -> int:
        """How many acknowledged jobs have no row, where there are so many rows."""
        with self._lock:
            return max(0, len(self.acknowledged) - rows)

    def without(self, finished: Iterable[str]) -> list[str]:
        """The acknowledged jobs that are not among these."""
        known = set(finished)
        with self._lock:
            return [each for each in self.acknowledged if each not in known]
