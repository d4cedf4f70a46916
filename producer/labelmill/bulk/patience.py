"""Patience: a submission outlasts Redis or the database being away for a while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from labelmill.core.errors import BrokerUnavailable, DatabaseUnavailable

_Answer = TypeVar("_Answer")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0  # seconds

#: How long Redis or the database may be away in the middle of a submission.
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Patience:
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
        attempts = Retrying(
            retry=retry_if_exception_type((BrokerUnavailable, DatabaseUnavailable)),
            wait=wait_random_exponential(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE),
            stop=stop_after_delay(self.seconds),
            before_sleep=self._say,
            reraise=True,
        )
        answer = attempts(ask)
        if attempts.statistics["attempt_number"] > 1:
            self.tell(None)
        return answer

    def _say(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        what = "Redis" if isinstance(error, BrokerUnavailable) else "the database"
        left = max(0.0, self.seconds - (state.seconds_since_start or 0.0))
        self.tell(f"{what} does not answer; trying for {left:.0f} s more")
