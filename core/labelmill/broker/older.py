"""What versions before this one have left in Redis without an index of it."""

from __future__ import annotations

from collections.abc import Iterable

import redis

_FEW_KEYS = 10_000  # that can be looked through in some milliseconds


def keys_of_older(broker: redis.Redis, pattern: str) -> Iterable[bytes]:
    """The keys of a pattern, where the server has few enough to look at all; else none.

    Parameters:
        broker: a client with ``decode_responses`` off.

    Raises:
        redis.RedisError: Redis does not answer.
    """
    if broker.dbsize() > _FEW_KEYS:
        return []
    return broker.scan_iter(match=pattern, count=1000)
