"""The connections to Redis: how long they wait, and their failures as errors of Labelmill."""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from labelmill.core.errors import BrokerUnavailable, ConfigurationError

ANSWER_SECONDS = 5.0
"""A Redis that is silent for longer is taken to be away."""


def open_broker(
    url: str,
    *,
    answer_seconds: float = ANSWER_SECONDS,
    block_seconds: float = 0.0,
    tries_again: bool = True,
) -> redis.Redis:
    """A client of Redis; see :func:`connection_pool`."""
    return redis.Redis.from_pool(
        connection_pool(
            url,
            answer_seconds=answer_seconds,
            block_seconds=block_seconds,
            tries_again=tries_again,
        )
    )


def connection_pool(
    url: str,
    *,
    answer_seconds: float = ANSWER_SECONDS,
    block_seconds: float = 0.0,
    tries_again: bool = True,
    most: int | None = None,
) -> redis.ConnectionPool:
    """Connections to Redis: the one place that says how long they wait.

    Parameters:
        answer_seconds: after which a Redis that is silent, or cannot be reached, is away.
        block_seconds: for which commands may block beyond that.
        tries_again: whether a command whose connection broke is sent once more by redis-py. Not
            where it may have been done: then only the caller knows whether to send it again.
        most: connections at the same moment; who wants another one waits.

    Raises:
        ConfigurationError: it is no URL of a Redis.
    """
    options: dict[str, Any] = {
        "socket_timeout": answer_seconds + block_seconds,
        "socket_connect_timeout": answer_seconds,
    }
    if not tries_again:
        options["retry"] = Retry(NoBackoff(), 0)
    if most is None:
        return redis.ConnectionPool.from_url(checked_url(url), **options)
    return redis.BlockingConnectionPool.from_url(checked_url(url), max_connections=most, **options)


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
