"""Celery's connection: which queues it reads and empties, and under which keys it keeps what."""

from __future__ import annotations

from typing import Any

import pytest

from labelmill.worker.celery import app
from labelmill.worker.queues import ForeignQueue, GuardedQueues


class Channel:
    """Says what it was asked for."""

    def basic_consume(self, queue: str, *_: Any) -> str:
        return queue

    basic_get = queue_purge = queue_delete = basic_consume


@pytest.fixture
def channel() -> Any:
    return type("Guarded", (GuardedQueues, Channel), {})()


METHODS = ("basic_consume", "basic_get", "queue_purge", "queue_delete")


@pytest.mark.parametrize("method", METHODS)
def test_no_queue_of_others_is_touched(channel: Any, method: str) -> None:
    for queue in ("topics", "maintenance", "celery", "labelmill.maintenance\x06\x163x"):
        with pytest.raises(ForeignQueue, match="is not for Celery to read or to empty"):
            getattr(channel, method)(queue)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "queue",
    ["labelmill.maintenance", "w1@host.celery.pidbox", "1.reply.celery.pidbox", "celeryev.1"],
)
def test_its_own_are(channel: Any, method: str, queue: str) -> None:
    assert getattr(channel, method)(queue) == queue


def test_what_it_has_not_acknowledged_lies_under_keys_of_its_own() -> None:
    """Other apps on the same Redis may have another visibility timeout."""
    options = app.conf.broker_transport_options
    keys = {name: key for name, key in options.items() if name.startswith("unacked")}
    assert len(keys) == len(set(keys.values())) == 3
    assert all(key.startswith("labelmill:") for key in keys.values())
    with app.connection_for_read() as connection:
        channel: Any = connection.get_transport_cls().Channel
        assert set(keys) <= set(channel.from_transport_options)
