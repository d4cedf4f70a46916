"""When what has died is started again, and when no more."""

from __future__ import annotations

from labelmill.local.restarts import Deaths, delay


def test_each_wait_is_twice_the_last_up_to_half_a_minute() -> None:
    assert [delay(deaths) for deaths in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert delay(10_000) == 30


def test_five_deaths_in_two_minutes_are_borne() -> None:
    deaths = Deaths()
    assert not any(deaths.are_too_many(now) for now in range(5))
    assert deaths.are_too_many(119)


def test_old_deaths_are_forgotten() -> None:
    deaths = Deaths()
    assert not any(deaths.are_too_many(now * 24.0) for now in range(100))
