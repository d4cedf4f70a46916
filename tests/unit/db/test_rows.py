from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelmill.core.ids import MAX_ID_LENGTH
from labelmill.core.text import storable_text
from labelmill.db.rows import storable_jobs, storable_name, storable_results
from tests.support.rows import a_job, a_result


@given(st.text(st.characters(codec=None)))
def test_storable_text_can_be_stored_and_keeps_its_length(text: str) -> None:
    stored = storable_text(text)

    assert "\x00" not in stored
    assert len(stored.encode().decode()) == len(text)
    assert storable_text(stored) == stored


@given(st.text())
def test_text_without_nul_and_surrogates_is_kept(text: str) -> None:
    assert storable_text(text).replace("\ufffd", "") == text.replace("\x00", "").replace(
        "\ufffd", ""
    )


def test_names_have_a_length() -> None:
    assert storable_name("x" * MAX_ID_LENGTH) == "x" * MAX_ID_LENGTH
    with pytest.raises(ValueError, match="longer than 255 characters"):
        storable_name("x" * (MAX_ID_LENGTH + 1))


def test_a_row_has_plain_strings_for_names() -> None:
    """SQLAlchemy's own are strings of another class, with which a group takes twenty times as long
    to be encoded."""
    rows = [*storable_results([a_result("a")]), *storable_jobs([a_job("b")])]
    assert {type(name) for row in rows for name in row} == {str}


def test_what_may_not_be_nothing_is_refused() -> None:
    with pytest.raises(TypeError):
        storable_jobs([a_job("a", model=None)])
