"""The heartbeat: what a living worker says of itself in Redis."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NotRequired, cast

import redis
from typing_extensions import TypedDict  # comes with pydantic, which wants it before 3.12

from labelmill.broker.connection import broker_errors
from labelmill.broker.older import keys_of_older
from labelmill.core.running import RunningModel

_PREFIX = "labelmill:worker:"

#: Sorted set: the names of the workers, by when their heartbeat ends (ms of the server's clock). To
#: find them by their keys would be a walk past all that other applications keep.
WORKERS = "labelmill:workers"

_KEPT_MS = 3_600_000  # for which a name is kept that has no heartbeat any more

# A server at its maxmemory takes a script whose first write frees memory: see leases/take.lua.
_WRITE = """
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[4])
"""


class Heartbeat(TypedDict):
    """What a living worker says of itself."""

    worker: str
    pid: int
    models: list[str]
    devices: list[str]
    started_at: str
    groups: int
    jobs: int
    failed: int
    in_flight: int
    #: What keeps it waiting: ``database``, or nothing.
    waiting_for: str | None
    #: How each of its models is run. Older workers do not tell.
    running: NotRequired[dict[str, RunningModel]]
    #: The queues that Redis refuses, and why in its words; each is tried again by itself.
    troubles: NotRequired[dict[str, str]]


def heartbeat_key(worker: str) -> str:
    """The key under which a worker says that it lives."""
    return f"{_PREFIX}{worker}"


def heartbeats(broker: redis.Redis) -> list[Heartbeat]:
    """The workers that live, by name.

    Raises:
        BrokerUnavailable: Redis does not answer.
    """
    with broker_errors():
        indexed = cast("list[bytes]", broker.zrange(WORKERS, 0, -1))
        keys = {_PREFIX.encode() + name for name in indexed}
        keys.update(keys_of_older(broker, f"{_PREFIX}*"))
        beats = broker.mget(sorted(keys)) if keys else []
    return [json.loads(beat) for beat in beats if beat is not None]


def heartbeat_of(broker: redis.Redis, worker: str) -> Heartbeat | None:
    """What a worker says of itself; None if it does not live.

    Raises:
        BrokerUnavailable: Redis does not answer.
    """
    with broker_errors():
        beat = broker.get(heartbeat_key(worker))
    return None if beat is None else json.loads(beat)


class HeartbeatWriter:
    """Writes a worker's heartbeat under a key that expires with its leases.

    Parameters:
        name: the worker's name.
        models: the queues that it serves.
        lifetime: in seconds.
    """

    def __init__(
        self,
        broker: redis.Redis,
        name: str,
        models: Iterable[str],
        lifetime: float,
    ) -> None:
        self._broker = broker
        self._write = broker.register_script(_WRITE)
        self._name = name
        self._models = list(models)
        self._lifetime_ms = int(lifetime * 1000)
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds")

    def describe(
        self,
        *,
        groups: int,
        jobs: int,
        failed: int,
        in_flight: int,
        waiting_for: str | None,
        running: dict[str, RunningModel],
        troubles: dict[str, str],
    ) -> Heartbeat:
        """A heartbeat with these figures."""
        return Heartbeat(
            worker=self._name,
            pid=os.getpid(),
            models=self._models,
            devices=sorted({model["device"] for model in running.values()}),
            started_at=self._started_at,
            groups=groups,
            jobs=jobs,
            failed=failed,
            in_flight=in_flight,
            waiting_for=waiting_for,
            running=running,
            troubles=troubles,
        )

    def write(self, beat: Heartbeat) -> None:
        """Write it.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        self._write(
            keys=[heartbeat_key(self._name), WORKERS],
            args=[json.dumps(beat), self._lifetime_ms, self._name, _KEPT_MS],
        )

    def remove(self) -> None:
        """Remove it, as the worker has ended.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        self._broker.delete(heartbeat_key(self._name))
        self._broker.zrem(WORKERS, self._name)
