"""An outage is said once, with its reasons, and once that it is over."""

from __future__ import annotations

import pytest
import redis

from labelmill.broker.outage import Outage
from labelmill.broker.refusals import Refusal

AWAY = redis.ConnectionError("Error 111 connecting to redis:6379. Connection refused.")
READONLY = Refusal("READONLY", "You can't write against a read only replica.")


def test_it_is_said_once_and_once_that_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage("tried again")
    for _ in range(3):
        for caller in ("take", "renew"):
            outage.note(caller, AWAY)
        outage.note("take", READONLY)
    outage.over("acknowledge")
    outage.over("take")
    assert outage.lasts
    outage.over("renew")
    assert not outage.lasts
    outage.over("renew")
    assert caplog.messages == [
        "Redis does not answer (ConnectionError: Error 111 connecting to redis:6379. Connection"
        " refused.); tried again",
        "Redis says READONLY: You can't write against a read only replica.; tried again",
        "Redis answers again, after 0 s",
    ]


def test_the_next_one_is_said_again(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage("tried again")
    for _ in range(2):
        outage.note("take", READONLY)
        outage.over("take")
    assert len(caplog.messages) == 4
