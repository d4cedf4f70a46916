"""What a row says of itself."""

from __future__ import annotations

from pydantic import TypeAdapter

from labelmill.core.result import RESULT_COLUMNS, Result
from tests.support.rows import a_result


def test_a_result_shows_what_it_is() -> None:
    good = a_result("a", model="m", label="billing", score=0.5)
    bad = a_result("b", model="m", error_code="expired", error_message="too late")
    assert repr(good) == "Result(id='a', model='m', status='succeeded', label='billing', score=0.5)"
    assert str(bad) == (
        "Result(id='b', model='m', status='failed', error_code='expired', error_message='too late')"
    )


def test_a_result_is_an_object_and_no_sequence() -> None:
    """Frameworks make JSON of it by its attributes: of a tuple they would make a list."""
    result = a_result("a", label="billing")
    assert not isinstance(result, tuple)
    assert TypeAdapter(Result).dump_python(result)["label"] == "billing"
    assert {result: 1}[a_result("a", label="billing")] == 1
    assert result.values == tuple(getattr(result, name) for name in RESULT_COLUMNS)
