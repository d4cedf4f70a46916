"""The connection to Redis: how long it waits, and its failures as errors of Labelmill."""

from __future__ import annotations

import redis

from labelmill.core.errors import BrokerUnavailable

_ANSWER_SECONDS = 5


def open_broker(url: str) -> redis.Redis:
    """A client of Redis that gives up after five seconds without an answer."""
    return redis.Redis.from_url(
        url, socket_timeout=_ANSWER_SECONDS, socket_connect_timeout=_ANSWER_SECONDS
    )


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
