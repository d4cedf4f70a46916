"""What the tests of faults share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labelmill.local.redis import RedisServer
from tests.support.proxy import Proxy
from tests.support.worker import Workers


@pytest.fixture
def proxy(redis_server: RedisServer, workers: Workers) -> Iterator[Proxy]:
    """The workers' way to Redis; the tests' own is another."""
    with Proxy(redis_server.port) as proxy:
        workers.producers_url = workers.broker_url
        workers.broker_url = proxy.url_of(workers.broker_url)
        yield proxy
        workers.stop()
