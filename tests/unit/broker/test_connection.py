"""What is not a URL of a Redis is told, without the password in it."""

from __future__ import annotations

import pytest

from labelmill.broker.announcements import AnnouncementStream
from labelmill.broker.connection import checked_url, open_broker
from labelmill.broker.group import ConsumerGroup
from labelmill.broker.leases.doorbell import Doorbell
from labelmill.broker.publisher import Publisher
from labelmill.core.errors import ConfigurationError


@pytest.mark.parametrize(
    "url", ["redis//oops", "amqp://me:secret@localhost/", "", "localhost:6379"]
)
def test_a_url_that_is_not_of_a_redis_is_refused(url: str) -> None:
    for use in (
        open_broker,
        Publisher,
        AnnouncementStream,
        Doorbell,
        lambda url: ConsumerGroup(url, "g"),
    ):
        with pytest.raises(
            ConfigurationError, match=r"^LABELMILL_BROKER_URL cannot be read; write"
        ) as told:
            use(url)
        assert "secret" not in str(told.value)
        assert told.value.__cause__ is None


@pytest.mark.parametrize(
    "url", ["redis://localhost", "rediss://:secret@host:6380/1", "unix:///run/redis.sock?db=1"]
)
def test_others_are_taken_as_they_are(url: str) -> None:
    assert checked_url(url) == url
