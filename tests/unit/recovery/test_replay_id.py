"""Ids of replayed jobs."""

from __future__ import annotations

import pytest

from labelmill.core.ids import MAX_ID_LENGTH
from labelmill.recovery.dead_letters import replay_id


@pytest.mark.parametrize(
    ("job_id", "expected"),
    [
        ("a", "a:replay1"),
        ("a:replay1", "a:replay2"),
        ("a:replay9", "a:replay10"),
        ("a:replay", "a:replay:replay1"),
        ("a:replay0", "a:replay0:replay1"),
    ],
)
def test_an_id_names_the_one_before(job_id: str, expected: str) -> None:
    assert replay_id(job_id) == expected


def test_a_long_id_stays_within_the_limit_and_apart_from_others() -> None:
    first, second = "a" * MAX_ID_LENGTH, "a" * (MAX_ID_LENGTH - 1) + "b"
    assert len(replay_id(first)) <= MAX_ID_LENGTH
    assert replay_id(first) != replay_id(second)
    assert replay_id(first) == replay_id(first)
