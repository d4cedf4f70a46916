"""A gateway on an empty Redis and a fresh database, without workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from labelmill.gateway.settings import GatewaySettings
from tests.support.gateway import serving, settings_for


@pytest.fixture
def settings(redis_url: str, sqlite_url: str, tmp_path: Path) -> GatewaySettings:
    """On SQLite."""
    return settings_for(tmp_path, redis_url, sqlite_url)


@pytest.fixture
def gateway(settings: GatewaySettings) -> Iterator[httpx.Client]:
    """A client of a gateway on SQLite, open to this machine."""
    with serving(settings) as client:
        yield client


@pytest.fixture
def gateway_on_each(redis_url: str, database_url: str, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of a gateway; the test runs once on each kind of database."""
    with serving(settings_for(tmp_path, redis_url, database_url)) as client:
        yield client
