from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelmill.db.cursor import PageCursor


@given(
    at=st.datetimes(timezones=st.timezones()),
    row_id=st.text(st.characters(codec="utf-8")),
)
def test_a_token_is_the_cursor_in_one_word(at: datetime, row_id: str) -> None:
    cursor = PageCursor(at.astimezone(UTC), row_id)

    token = str(cursor)

    assert PageCursor.parse(token) == cursor
    assert token.isascii()
    assert not set(token) & set(" /+&?#")


@pytest.mark.parametrize("token", ["", "x", "é", "YWJj", "MjAyNi0wNS0xN1QxMjowMDowMCBh", "____"])
def test_anything_else_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="not a page of this list"):
        PageCursor.parse(token)


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_moment_beyond_all_times_is_refused(at: str) -> None:
    with pytest.raises(ValueError, match="not a page of this list"):
        PageCursor.parse(base64.urlsafe_b64encode(f"{at} a".encode()).decode())
