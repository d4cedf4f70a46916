"""What a row says of itself."""

from __future__ import annotations

from tests.support.rows import a_result


def test_a_result_shows_what_it_is() -> None:
    good = a_result("a", model="m", label="billing", score=0.5)
    bad = a_result("b", model="m", error_code="expired", error_message="too late")
    assert repr(good) == "Result(id='a', model='m', status='succeeded', label='billing', score=0.5)"
    assert str(bad) == (
        "Result(id='b', model='m', status='failed', error_code='expired', error_message='too late')"
    )
