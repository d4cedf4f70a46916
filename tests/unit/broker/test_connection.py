"""What is not a URL of a Redis is told, without the password in it."""

from __future__ import annotations

import pytest

from labelmill.broker.announcements import AnnouncementStream
from labelmill.broker.connection import checked_url, connection_pool, open_broker, plain_url
from labelmill.broker.group import ConsumerGroup
from labelmill.broker.leases.doorbell import Doorbell
from labelmill.broker.publisher import Publisher
from labelmill.core.errors import ConfigurationError


@pytest.mark.parametrize(
    "url",
    [
        "redis//oops",
        "amqp://me:secret@localhost/",
        "",
        "localhost:6379",
        "redis://:secret@localhost/0?no_such_option=1",
        "redis://:secret@localhost/0?socket_timeout=soon",
        "redis://:secret@localhost/0?protocol=9",
        "sentinel://:secret@localhost/0",
        "sentinel://:secret@/0?master=ours",
        "unix://:secret@/run/redis.sock?ssl_ca_certs=/ca.pem",
    ],
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
    ("url", "plain"),
    [
        ("redis://localhost", "redis://localhost"),
        ("redis://[::1]:6379/0?protocol=2", "redis://[::1]:6379/0"),
        (
            "rediss://:secret@host:6380/1?ssl_ca_certs=/ca.pem&health_check_interval=30",
            "rediss://:secret@host:6380/1",
        ),
        ("unix:///run/redis.sock?db=1", "redis://%2Frun%2Fredis.sock/1"),
        ("redis+socket:///run/redis.sock?virtual_host=2", "redis://%2Frun%2Fredis.sock/2"),
        ("sentinel://:secret@one:1,[::1]:2,three/4?master=ours", "redis://ours/4"),
        ("sentinels://one/?master=ours&sentinel_password=secret", "redis://ours/0"),
    ],
)
def test_others_are_taken_as_they_are(url: str, plain: str) -> None:
    assert checked_url(url) == url
    assert plain_url(url) == plain
    connection_pool(url, most=2).make_connection()
