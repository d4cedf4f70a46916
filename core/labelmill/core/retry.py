"""Retrying: what is away is tried again, at growing intervals with jitter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Any, ParamSpec, TypeVar

from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    stop_after_delay,
    stop_before_delay,
    stop_never,
    stop_when_event_set,
    wait_random_exponential,
)

_P = ParamSpec("_P")
_T = TypeVar("_T")

GaveUp = RetryError
"""Raised where the event of a policy was set while it waited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Which errors are waited out, and for how long.

    Attributes:
        errors: after which a call is made again.
        first_pause, longest_pause: in seconds; each pause is up to twice the one before, and
            shorter by chance, so that many who wait do not meet.
        attempts: the most calls; None for any number.
        seconds: after which no more calls are made; None for any time.
        overruns: whether the last call may begin after a pause that ends later than that.
        until: when set, no more calls are made.
        on_wait: called before each pause with the error, the number of calls and the seconds since
            the first.
    """

    errors: tuple[type[Exception], ...]
    first_pause: float
    longest_pause: float = 5.0
    attempts: int | None = None
    seconds: float | None = None
    overruns: bool = True
    until: Event | None = None
    on_wait: Callable[[BaseException, int, float], None] | None = None

    def call(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """The answer of the function, which must bear to be called again.

        Raises:
            GaveUp: the event was set.
            Exception: the function's last error.
        """
        options: dict[str, Any] = {}
        if self.until is not None:
            options["sleep"] = sleep_using_event(self.until)
        return Retrying(
            retry=retry_if_exception_type(self.errors),
            wait=wait_random_exponential(multiplier=self.first_pause, max=self.longest_pause),
            stop=self._stop(),
            before_sleep=self._before_sleep,
            reraise=self.until is None,
            **options,
        )(function, *args, **kwargs)

    def _stop(self) -> Any:
        stop: Any = stop_never
        if self.attempts is not None:
            stop = stop | stop_after_attempt(self.attempts)
        if self.seconds is not None:
            after = stop_after_delay if self.overruns else stop_before_delay
            stop = stop | after(self.seconds)
        if self.until is not None:
            stop = stop | stop_when_event_set(self.until)
        return stop

    def _before_sleep(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if self.on_wait is not None and error is not None:
            self.on_wait(error, state.attempt_number, state.seconds_since_start or 0.0)
