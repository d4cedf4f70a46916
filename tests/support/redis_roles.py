"""Redis servers that are each other's replicas, and change roles."""

from __future__ import annotations

from typing import Any

import redis

from labelmill.local.redis import RedisServer
from tests.support.waiting import wait_for


def admin(server: RedisServer) -> redis.Redis:
    """A connection of whoever runs the server."""
    return redis.Redis.from_url(server.url)


def share_password(servers: list[RedisServer]) -> None:
    """Give all the password of the first, as servers have behind one address; they keep it."""
    for each in servers[1:]:
        with admin(each) as broker:
            broker.config_set("requirepass", servers[0]._password)
            each._password = servers[0]._password
    for each in servers:
        with admin(each) as broker:
            broker.config_set("masterauth", each._password)


def replicate(replica: RedisServer, primary: RedisServer) -> None:
    """Make one a replica of the other, and wait until it has all its data."""
    with admin(replica) as broker:
        broker.replicaof("127.0.0.1", str(primary.port))
        wait_for(lambda: replication(broker).get("master_link_status") == "up")


def promote(server: RedisServer) -> None:
    """Make a replica a primary."""
    with admin(server) as broker:
        broker.replicaof("NO", "ONE")


def replication(broker: redis.Redis) -> dict[str, Any]:
    """What a server says of its role."""
    return broker.info("replication")
