from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelmill.core.ids import MAX_ID_LENGTH
from labelmill.core.text import storable_text
from labelmill.db.rows import storable_name


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
