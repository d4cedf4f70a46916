"""The progress: how far a submission is, in numbers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

_WINDOW_SECONDS = 15.0


@dataclass(slots=True)
class Rate:
    """How fast a number grows, over the last seconds."""

    now: Callable[[], float] = time.monotonic
    _points: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, value: int) -> None:
        """The number is this now."""
        moment = self.now()
        self._points.append((moment, value))
        while len(self._points) > 2 and moment - self._points[1][0] > _WINDOW_SECONDS:
            self._points.popleft()

    @property
    def per_second(self) -> float | None:
        """None as long as nothing can be said."""
        if len(self._points) < 2:
            return None
        (start, before), (end, after) = self._points[0], self._points[-1]
        return (after - before) / (end - start) if end > start else None


@dataclass(slots=True)
class SubmitProgress:
    """How far a submission is.

    Attributes:
        total: rows of the sources, where that is known.
        fraction: of the sources that is read, where that is known.
        sent: jobs sent by this process.
        before: rows whose jobs were submitted before.
        rejected: rows of which no job was made.
        submitted: jobs of the run in the ledger.
        succeeded, failed: jobs that have their rows.
        waiting_for: what holds up the submission; None while it goes on.
    """

    run: str
    model: str
    total: int | None = None
    fraction: float | None = None
    sent: int = 0
    before: int = 0
    rejected: int = 0
    submitted: int = 0
    succeeded: int = 0
    failed: int = 0
    waiting_for: str | None = None
    sending: bool = True
    sent_rate: Rate = field(default_factory=Rate)
    done_rate: Rate = field(default_factory=Rate)
    started: float = field(default_factory=time.monotonic)

    @property
    def rows(self) -> int:
        """Rows that were read."""
        return self.sent + self.before + self.rejected

    @property
    def done(self) -> int:
        """Jobs that have their rows."""
        return self.succeeded + self.failed

    @property
    def part(self) -> float | None:
        """How much of what goes on now is done, from 0 to 1."""
        if not self.sending:
            return min(1.0, self.done / self.submitted) if self.submitted else 1.0
        if self.total:
            return min(1.0, self.rows / self.total)
        return self.fraction

    @property
    def rate(self) -> float | None:
        """Jobs a second: that are sent, or, once all are, that are done."""
        return (self.sent_rate if self.sending else self.done_rate).per_second

    @property
    def eta(self) -> float | None:
        """Seconds until what goes on now is done."""
        if not self.rate:
            return None
        if not self.sending:
            return max(0, self.submitted - self.done) / self.rate
        if self.total is not None:
            return max(0, self.total - self.rows) / self.rate
        if not self.fraction:
            return None
        return self.sent * (1 / self.fraction - 1) / self.rate

    def as_json(self) -> dict[str, object]:
        """For scripts."""
        return {
            "run": self.run,
            "model": self.model,
            "rows": self.rows,
            "sent": self.sent,
            "submitted_before": self.before,
            "rejected": self.rejected,
            "submitted": self.submitted,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "seconds": round(time.monotonic() - self.started, 3),
        }
