"""Faults of the Redis server."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator

from tests.soak.faults.fault import fault
from tests.soak.site import Site

_NOBODY = 1  # a port on which no server listens


@fault("redis-killed")
def _killed(site: Site, chance: random.Random) -> Iterator[float]:
    """It comes back with its append-only file."""
    with site.taking("redis"):
        site.redis.kill()
        yield chance.uniform(0, 5)
        site.start_redis()


@fault("redis-frozen")
def _frozen(site: Site, chance: random.Random) -> Iterator[float]:
    """For longer than a lease: all leases are over when it goes on."""
    with site.taking("redis"):
        os.kill(site.redis.pid, signal.SIGSTOP)
        yield site.lease * chance.uniform(1.2, 2)
        os.kill(site.redis.pid, signal.SIGCONT)


@fault("redis-demoted")
def _demoted(site: Site, chance: random.Random) -> Iterator[float]:
    """READONLY, and UNBLOCKED for those who wait."""
    with site.taking("redis"), site.broker() as broker:
        broker.replicaof("127.0.0.1", _NOBODY)
        yield chance.uniform(1, 8)
        broker.replicaof("NO", "ONE")


@fault("redis-full")
def _full(site: Site, chance: random.Random) -> Iterator[float]:
    with site.taking("redis"), site.broker() as broker:
        broker.config_set("maxmemory", 1)
        yield chance.uniform(1, 8)
        broker.config_set("maxmemory", 0)


@fault("redis-password")
def _password(site: Site, chance: random.Random) -> Iterator[float]:
    """Rotated, and back: NOAUTH and WRONGPASS for whoever connects meanwhile."""
    with site.taking("redis"), site.broker() as broker:
        [(_, password)] = broker.config_get("requirepass").items()
        broker.config_set("requirepass", "another")
        broker.client_kill_filter(_type="normal", skipme=True)
        yield chance.uniform(1, 8)
        broker.config_set("requirepass", password)


@fault("redis-scripts-forgotten")
def _scripts_forgotten(site: Site, chance: random.Random) -> Iterator[float]:
    with site.taking("redis"), site.broker() as broker:
        broker.script_flush()
        yield 0


@fault("redis-clients-killed")
def _clients_killed(site: Site, chance: random.Random) -> Iterator[float]:
    with site.taking("redis"), site.broker() as broker:
        broker.client_kill_filter(_type=chance.choice(("normal", "pubsub")), skipme=True)
        yield 0


@fault("redis-clients-unblocked")
def _clients_unblocked(site: Site, chance: random.Random) -> Iterator[float]:
    """Whoever waits for an entry is told UNBLOCKED."""
    with site.taking("redis"), site.broker() as broker:
        for each in broker.client_list():
            if "b" in each["flags"]:
                broker.client_unblock(int(each["id"]), error=True)
        yield 0
