"""Text that not everything holds: NUL, and lone surrogates, which JSON carries and UTF-8 cannot."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic_core import to_json

REFUSED = re.compile("[\x00\ud800-\udfff]")
"""What PostgreSQL cannot store."""


def storable_text(text: str) -> str:
    """The text, as long as it was, with U+FFFD for each :data:`REFUSED` character."""
    # Nearly every text is clean, and this is the cheapest way to see it.
    if text.isascii() and "\x00" not in text:
        return text
    return REFUSED.sub("\N{REPLACEMENT CHARACTER}", text)


def encodable_text(text: str) -> str:
    """The text with pairs of surrogates joined to their character, and U+FFFD for lone ones."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def json_bytes(value: Any) -> bytes:
    """The value as JSON in UTF-8; lone surrogates are escaped.

    Raises:
        TypeError: it is no JSON.
    """
    try:
        return to_json(value)
    except ValueError:
        # The faster encoder refuses what has no UTF-8; the standard library escapes it.
        return json.dumps(value).encode()
