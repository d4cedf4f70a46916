"""The transport: how Celery's own loop, its remote control and beat reach Redis.

kombu would read the URL in a way of its own, and knows neither redis-py's options nor what a
refusal means. So its connections are made where all others are, for LABELMILL_BROKER_URL.
"""

from __future__ import annotations

from typing import Any

from kombu import connection as kombu_connection
from kombu import transport as kombu_transport
from kombu.transport import redis as kombu_redis

from labelmill.broker.connection import connection_pool
from labelmill.core.settings import BrokerSettings
from labelmill.worker.queues import GuardedQueues

TRANSPORT = "labelmill"
"""The name under which kombu knows it (``broker_transport``)."""


class Channel(GuardedQueues, kombu_redis.Channel):
    """kombu's, on connections of ours, and for Celery's own queues alone."""

    def _get_pool(self, asynchronous: bool = False) -> Any:
        pool: Any = connection_pool(BrokerSettings().broker_url)
        options = pool.connection_kwargs
        options.pop("retry")  # the loop begins anew with whatever failed
        options.setdefault("health_check_interval", self.health_check_interval)
        self.keyprefix_fanout = self.keyprefix_fanout.format(db=options.get("db", 0))
        if asynchronous:
            pool.connection_class = self._watched(pool.connection_class)
        return pool

    def _watched(self, kind: Any) -> Any:
        """Connections of that kind, of whose end kombu's loop is told."""
        channel = self

        class Watched(kind):  # type: ignore[misc]
            def disconnect(self, *arguments: Any, **options: Any) -> None:
                super().disconnect(*arguments, **options)
                if channel._registered:
                    channel._on_connection_disconnect(self)  # type: ignore[no-untyped-call]

        return Watched


class Transport(kombu_redis.Transport):
    """kombu's Redis transport for one address."""

    Channel = Channel


kombu_transport.TRANSPORT_ALIASES[TRANSPORT] = f"{__name__}:Transport"
# What others are told of it, such as Flower: it is Redis.
kombu_connection.resolve_aliases[TRANSPORT] = "redis"
