"""A client of an empty Redis and of an empty database of each kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labelmill.client import Client


@pytest.fixture
def client(redis_url: str, database_url: str) -> Iterator[Client]:
    with Client(redis_url, database_url) as client:
        yield client
