"""What a row says of itself."""

from __future__ import annotations

from labelmill.core.result import Status
from labelmill.db.tables import Result


def test_a_result_shows_what_it_is() -> None:
    good = Result(id="a", model="m", status=Status.SUCCEEDED, label="billing", score=0.5)
    bad = Result(
        id="b", model="m", status=Status.FAILED, error_code="expired", error_message="too late"
    )
    assert repr(good) == "Result(id='a', model='m', status='succeeded', label='billing', score=0.5)"
    assert str(bad) == (
        "Result(id='b', model='m', status='failed', error_code='expired', error_message='too late')"
    )
