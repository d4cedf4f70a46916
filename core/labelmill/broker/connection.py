"""The connection to Redis: how long it waits, and its failures as errors of Labelmill."""

from __future__ import annotations

import redis
from redis.connection import parse_url

from labelmill.core.errors import BrokerUnavailable, ConfigurationError

_ANSWER_SECONDS = 5


def open_broker(url: str) -> redis.Redis:
    """A client of Redis that gives up after five seconds without an answer.

    Raises:
        ConfigurationError: it is no URL of a Redis.
    """
    return redis.Redis.from_url(
        checked_url(url), socket_timeout=_ANSWER_SECONDS, socket_connect_timeout=_ANSWER_SECONDS
    )


def checked_url(url: str) -> str:
    """The URL, if it is one of a Redis.

    Raises:
        ConfigurationError: it is not; the message does not repeat it, as it may hold a password.
    """
    try:
        parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError:
        raise ConfigurationError(
            "LABELMILL_BROKER_URL cannot be read; write redis://:password@host:6379/0, or rediss://"
        ) from None
    return url


class broker_errors:  # noqa: N801 - reads as the statement it is: `with broker_errors():`
    """Turn redis-py's connection errors into :class:`~labelmill.core.errors.BrokerUnavailable`."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, redis.RedisError | OSError):
            raise BrokerUnavailable(
                f"Redis does not answer ({type(error).__name__}); "
                "check LABELMILL_BROKER_URL, and that the server runs (labelmill up?)"
            ) from error
