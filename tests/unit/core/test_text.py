"""Texts: what a message quotes of them."""

from __future__ import annotations

import pytest

from labelmill.core.text import redacted, texts_in


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("no 'my name is Ada Lovelace' here", "no '…' here"),
        ("cut: my name is A", "cut: …"),
        ('{"text":"my name is Ada \\"Lovelace\\""}', '{"text":"…"}'),
        ("my other name", "my other name"),
    ],
)
def test_what_a_message_quotes_of_a_text_is_left_out(message: str, shown: str) -> None:
    secrets = ["my name is Ada Lovelace", 'my name is Ada "Lovelace"', "a"]
    assert redacted(message, secrets) == shown


def test_texts_beyond_ascii_are_left_out_as_json_has_them_too() -> None:
    assert redacted('no "Gr\\u00fc\\u00dfe aus K\\u00f6ln"', ["Grüße aus Köln"]) == 'no "…"'
    assert redacted("no Grüße aus Köln", ["Grüße aus Köln"]) == "no …"


def test_the_texts_in_a_payload() -> None:
    payload = {"text": "a", "image": {"uri": "b", "tags": ["c", 1, None]}}
    assert list(texts_in(payload)) == ["a", "b", "c"]
