"""The heartbeat: what a living worker says of itself in Redis."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal, NotRequired, TypeAlias, cast

import redis
from typing_extensions import TypedDict  # comes with pydantic, which wants it before 3.12

from labelmill.broker.connection import broker_errors
from labelmill.broker.older import keys_of_older
from labelmill.core.running import RunningModel

State: TypeAlias = Literal["loading", "ready", "stopping"]

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

# Only in place of what the caller has seen.
_CLAIM = f"""
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[5] then return 0 end
{_WRITE}
return 1
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
    #: What keeps it waiting: ``database``, ``redis`` (where that can still be written), or nothing.
    waiting_for: str | None
    #: How each of its models is run. Older workers do not tell.
    running: NotRequired[dict[str, RunningModel]]
    #: ``loading`` its models, ``ready`` to take jobs, or ``stopping``. Older workers do not tell:
    #: they have a heartbeat from when they are ready.
    state: NotRequired[State]
    #: The models whose queues it does not take from now, by a control command.
    paused: NotRequired[list[str]]
    #: Where its ``pid`` means something: a boot of a machine, and there a namespace.
    pid_space: NotRequired[str]
    #: The queues that Redis refuses, and why in its words; each is tried again by itself.
    troubles: NotRequired[dict[str, str]]


def heartbeat_key(worker: str) -> str:
    """The key under which a worker says that it lives."""
    return f"{_PREFIX}{worker}"


def is_ready(beat: Heartbeat) -> bool:
    """Whether the worker takes jobs."""
    return beat.get("state", "ready") == "ready"


def serves(beat: Heartbeat, model: str) -> bool:
    """Whether the worker takes this model's jobs."""
    return is_ready(beat) and model in beat["models"] and model not in beat.get("paused", [])


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
        lifetime: in seconds.

    Attributes:
        models: the queues that it serves.
    """

    def __init__(
        self,
        broker: redis.Redis,
        name: str,
        lifetime: float,
    ) -> None:
        self._broker = broker
        self._write = broker.register_script(_WRITE)
        self._claim = broker.register_script(_CLAIM)
        self._name = name
        self._keys = [heartbeat_key(name), WORKERS]
        self.models: list[str] = []
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
        state: State = "ready",
        paused: Iterable[str] = (),
    ) -> Heartbeat:
        """A heartbeat with these figures."""
        return Heartbeat(
            worker=self._name,
            pid=os.getpid(),
            models=list(self.models),
            devices=sorted({model["device"] for model in running.values()}),
            started_at=self._started_at,
            groups=groups,
            jobs=jobs,
            failed=failed,
            in_flight=in_flight,
            waiting_for=waiting_for,
            running=running,
            state=state,
            paused=sorted(paused),
            pid_space=pid_space(),
            troubles=troubles,
        )

    def loading(self) -> Heartbeat:
        """The heartbeat of a worker that loads its models."""
        return self.describe(
            groups=0,
            jobs=0,
            failed=0,
            in_flight=0,
            waiting_for=None,
            running={},
            troubles={},
            state="loading",
        )

    def found(self) -> bytes | None:
        """The heartbeat that is there under this name, as it was written; None for none.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        found: Any = self._broker.get(heartbeat_key(self._name))
        return None if found is None else bytes(found)

    def milliseconds_left(self) -> int:
        """How long the heartbeat under this name has left; less than 0 for none.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        left: Any = self._broker.pttl(heartbeat_key(self._name))
        return int(left)

    def claim(self, found: bytes | None) -> bool:
        """Write that it loads, in place of the heartbeat that was found; whether that was there.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        args = [*self._arguments(self.loading()), found or b""]
        return bool(self._claim(keys=self._keys, args=args))

    def write(self, beat: Heartbeat) -> None:
        """Write it.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        self._write(keys=self._keys, args=self._arguments(beat))

    def remove(self) -> None:
        """Remove it, as the worker has ended.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        self._broker.delete(heartbeat_key(self._name))
        self._broker.zrem(WORKERS, self._name)

    def _arguments(self, beat: Heartbeat) -> list[str | int | bytes]:
        return [json.dumps(beat), self._lifetime_ms, self._name, _KEPT_MS]


@cache
def pid_space() -> str:
    """Where this process's id means something: in another place it may be any other process's."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # no Linux
        return socket.gethostname()
