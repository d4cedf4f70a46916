"""Deliveries: finished jobs POSTed to one receiver, signed, and tried again until it has them."""

from __future__ import annotations

import hashlib
import json
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from threading import Event
from typing import NamedTuple

from labelmill.broker.announcements import JobFinished
from labelmill.core.errors import ConfigurationError
from labelmill.webhook.settings import WebhookSettings
from labelmill.webhook.signature import signed_headers

try:
    import urllib3

    from labelmill.webhook.deadline import ConnectionDeadline
except ModuleNotFoundError as error:
    raise ConfigurationError(
        "webhooks need urllib3, which is not installed; pip install 'labelmill[webhook]'"
    ) from error

logger = logging.getLogger(__name__)

JOBS_A_DELIVERY = 500

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 600.0
_LONGEST_RETRY_AFTER_SECONDS = 3600.0
_LOOK_AROUND_SECONDS = 10.0
_ANSWER_BYTES = 64 * 1024


class DeliveryOutcome(Enum):
    """What became of a delivery."""

    DELIVERED = "delivered"
    GIVEN_UP = "given up"
    STOPPED = "stopped"


class Answer(NamedTuple):
    """What an attempt brought: nothing, or why it failed; and how long to wait, if it was said."""

    failure: str | None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to the receiver: the same bytes, under the same id, at each attempt."""

    id: str
    body: bytes
    jobs: Sequence[JobFinished]

    @classmethod
    def of(cls, jobs: Sequence[JobFinished]) -> Delivery:
        """The delivery of some jobs; its id is made of theirs, so that it is the same again."""
        ids = "\n".join(f"{job['model']} {job['id']}" for job in jobs)
        body = {
            "type": "jobs.finished",
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "data": {"jobs": list(jobs)},
        }
        digest = hashlib.sha256(ids.encode(errors="surrogatepass")).hexdigest()
        return cls(f"msg_{digest[:32]}", json.dumps(body).encode(), jobs)


def deliveries(jobs: Sequence[JobFinished]) -> list[Delivery]:
    """The deliveries of some jobs, in their order, about ``JOBS_A_DELIVERY`` jobs each."""
    return [
        Delivery.of(jobs[start : start + JOBS_A_DELIVERY])
        for start in range(0, len(jobs), JOBS_A_DELIVERY)
    ]


class Sender:
    """Sends deliveries to the receiver, one after the other.

    Parameters:
        settings: where to, the secrets and the bounds.
        stop: when set, a delivery that waits for its next attempt is left.

    Raises:
        ConfigurationError: the address or a secret is missing or cannot be used.
    """

    def __init__(self, settings: WebhookSettings, stop: Event) -> None:
        self._url = settings.url
        self._secrets = settings.secrets
        self._give_up = settings.webhook_give_up
        self._stop = stop
        # Redirects are not followed and no proxy of the environment is used: what is signed goes
        # where it was told to go.
        connect = min(5.0, settings.webhook_timeout)
        self._deadline = ConnectionDeadline()
        self._pool = self._deadline.pool(
            urllib3.Timeout(connect=connect, read=settings.webhook_timeout)
        )
        self._attempt_seconds = connect + settings.webhook_timeout

    def deliver(
        self, delivery: Delivery, look_around: Callable[[], None] = lambda: None
    ) -> tuple[DeliveryOutcome, str | None]:
        """Attempt it until the receiver has it; returns the last failure too, if there was one.

        Parameters:
            look_around: called before each attempt, and every ten seconds while one is waited for.
        """
        started = time.monotonic()
        attempt = 0
        failure: str | None = None
        while not self._stop.is_set():
            look_around()
            attempt += 1
            with self._deadline.of(self._attempt_seconds):
                answer = self._attempt(delivery)
            failure = answer.failure
            if failure is None:
                return DeliveryOutcome.DELIVERED, None
            pause = answer.retry_after or _pause(attempt)
            if time.monotonic() - started + pause > self._give_up:
                return DeliveryOutcome.GIVEN_UP, failure
            logger.warning(
                "the receiver did not take %d jobs: %s; attempt %d, the next in %.0f s",
                len(delivery.jobs),
                failure,
                attempt,
                pause,
            )
            self._wait(pause, look_around)
        return DeliveryOutcome.STOPPED, failure

    def close(self) -> None:
        """Give up the connections."""
        self._pool.clear()

    def _attempt(self, delivery: Delivery) -> Answer:
        headers = {
            "content-type": "application/json",
            "user-agent": "labelmill",
            **signed_headers(self._secrets, delivery.id, int(time.time()), delivery.body),
        }
        try:
            response = self._pool.request(
                "POST",
                self._url,
                body=delivery.body,
                headers=headers,
                redirect=False,
                preload_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            # Its text may quote the address, which may hold a password.
            return Answer(type(error).__name__)
        try:
            # What it says is not looked at; read, so that the connection can be used again.
            if response.length_remaining is not None and response.length_remaining < _ANSWER_BYTES:
                response.drain_conn()
        finally:
            response.close()
        if 200 <= response.status < 300:
            return Answer(None)
        return Answer(f"status {response.status}", _retry_after(response.headers))

    def _wait(self, seconds: float, look_around: Callable[[], None]) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self._stop.wait(min(left, _LOOK_AROUND_SECONDS)):
                return
            look_around()


def _pause(attempt: int) -> float:
    """Twice as long after each attempt, and up to half of it less, so that many do not meet."""
    longest = min(_FIRST_PAUSE_SECONDS * 2.0 ** min(attempt - 1, 30), _LONGEST_PAUSE_SECONDS)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def _retry_after(headers: urllib3.HTTPHeaderDict) -> float | None:
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value) if value.isdecimal() else _seconds_until(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(seconds, _FIRST_PAUSE_SECONDS), _LONGEST_RETRY_AFTER_SECONDS)


def _seconds_until(date: str) -> float:
    moment = parsedate_to_datetime(date)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - time.time()
