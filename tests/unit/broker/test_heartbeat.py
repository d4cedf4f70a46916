"""The heartbeat, as others read it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from labelmill.broker.heartbeat import Heartbeat, is_ready, serves


def beat(**fields: Any) -> Heartbeat:
    return cast("Heartbeat", {"worker": "w@h", "models": ["topics"], **fields})


@pytest.mark.parametrize(
    ("fields", "ready", "served"),
    [
        ({}, True, True),  # an older version's: there from when it is ready
        ({"state": "ready", "paused": []}, True, True),
        ({"state": "loading"}, False, False),
        ({"state": "stopping"}, False, False),
        ({"state": "ready", "paused": ["topics"]}, True, False),
        ({"state": "ready", "paused": ["digits"]}, True, True),
        ({"models": ["digits"]}, True, False),
    ],
)
def test_who_takes_jobs(fields: dict[str, Any], ready: bool, served: bool) -> None:
    assert is_ready(beat(**fields)) is ready
    assert serves(beat(**fields), "topics") is served
