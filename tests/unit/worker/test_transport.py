"""Celery's own loop: where it connects, and that it does not flood the log."""

from __future__ import annotations

import logging

import pytest

from labelmill.worker.celery import make_app
from labelmill.worker.celerys_loop import OncePerEpisode
from labelmill.worker.settings import WorkerSettings
from labelmill.worker.transport import Transport


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://:secret@host:6380/2?health_check_interval=30", "redis://:**@host:6380/2"),
        ("rediss://:secret@host/0?ssl_ca_certs=/ca.pem", "redis://:**@host:6379/0"),
        ("sentinel://:secret@one,two:1/1?master=ours", "redis://:**@ours:6379/1"),
    ],
)
def test_the_loop_reads_every_url_and_tells_no_password(url: str, told: str) -> None:
    app = make_app(WorkerSettings(broker_url=url))
    with app.connection_for_read() as connection:
        assert connection.get_transport_cls() is Transport
        assert connection.as_uri() == told
        assert connection.clone().as_uri() == told
        assert connection.info()["transport"] == "redis"


def test_a_message_is_said_again_after_some_quiet() -> None:
    once = OncePerEpisode(40)

    def is_said(seconds: float, message: str) -> bool:
        record = logging.LogRecord("celery", logging.ERROR, "", 0, message, (), None)
        record.created = seconds
        return once.filter(record)

    said = [is_said(at, "Cannot connect to %s") for at in (0, 2, 30, 69, 110)]
    assert said == [True, False, False, False, True]
    assert is_said(3, "Connected to %s")
