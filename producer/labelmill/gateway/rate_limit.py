"""The rate limit: how many requests one caller may make."""

from __future__ import annotations

import logging
import math
import time

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage, RedisStorage, Storage
from limits.strategies import SlidingWindowCounterRateLimiter

from labelmill.broker.connection import broker_errors, connection_pool
from labelmill.core.errors import BrokerUnavailable, ConfigurationError
from labelmill.gateway.executors import Executor
from labelmill.gateway.problems import try_again
from labelmill.gateway.settings import GatewaySettings

logger = logging.getLogger(__name__)


class RateLimiter:
    """Counts requests by caller, in this process or, for several gateways, in Redis.

    Raises:
        ConfigurationError: the limit cannot be read.
    """

    def __init__(self, settings: GatewaySettings, executor: Executor) -> None:
        self._limit = _limit(settings.rate_limit)
        self._in_redis = settings.rate_limit_storage == "redis"
        storage: Storage
        if self._in_redis:
            pool = connection_pool(settings.broker_url, answer_seconds=settings.answer_seconds)
            storage = RedisStorage("redis://", connection_pool=pool)  # the pool knows where to
        else:
            storage = MemoryStorage()
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._executor = executor

    async def take(self, caller: str) -> None:
        """Count one request.

        Raises:
            Problem: the caller has made too many.
        """
        wait = (
            await self._executor.run(self._take, caller) if self._in_redis else self._take(caller)
        )
        if wait is not None:
            raise try_again(429, "rate_limited", f"more than {self._limit} requests", wait)

    def _take(self, caller: str) -> int | None:
        try:
            with broker_errors():
                if self._limiter.hit(self._limit, "gateway", caller):
                    return None
                stats = self._limiter.get_window_stats(self._limit, "gateway", caller)
        except BrokerUnavailable as error:
            # Reading goes on without Redis, and what needs it says so itself.
            logger.warning("requests are not counted: %s", error)
            return None
        return max(1, math.ceil(stats.reset_time - time.time()))


def _limit(text: str) -> RateLimitItem:
    try:
        return parse(text)
    except ValueError:
        raise ConfigurationError(
            f"LABELMILL_RATE_LIMIT is {text!r}; write a number and a time, such as 6000/minute"
        ) from None
