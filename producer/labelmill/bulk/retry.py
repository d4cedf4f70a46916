"""Retrying: a submission outlasts Redis or the database being away for a while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from labelmill.core.errors import BrokerUnavailable, DatabaseUnavailable
from labelmill.core.retry import RetryPolicy

_Answer = TypeVar("_Answer")

_FIRST_PAUSE_SECONDS = 0.25

#: How long Redis or the database may be away in the middle of a submission.
OUTAGE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class ServiceRetry:
    """Asks again while Redis or the database is away.

    Parameters:
        tell: called with what is waited for, and with None once it answers.
        seconds: how long to wait before giving up.
    """

    tell: Callable[[str | None], None]
    seconds: float

    def call(self, ask: Callable[[], _Answer]) -> _Answer:
        """The answer; ``ask`` is called until there is one, so it must bear being repeated.

        Raises:
            BrokerUnavailable: Redis was away for too long.
            DatabaseUnavailable: the database was; likewise.
        """
        waited = False

        def say(error: BaseException, _attempt: int, passed: float) -> None:
            nonlocal waited
            waited = True
            what = "Redis" if isinstance(error, BrokerUnavailable) else "the database"
            left = max(0.0, self.seconds - passed)
            self.tell(f"{what} does not answer; trying for {left:.0f} s more")

        answer = RetryPolicy(
            errors=(BrokerUnavailable, DatabaseUnavailable),
            first_pause=_FIRST_PAUSE_SECONDS,
            seconds=self.seconds,
            on_wait=say,
        ).call(ask)
        if waited:
            self.tell(None)
        return answer
