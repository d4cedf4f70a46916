"""Text that not everything holds: NUL, and lone surrogates, which JSON carries and UTF-8 cannot."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic_core import to_json

REFUSED = re.compile("[\x00\ud800-\udfff]")
"""What PostgreSQL cannot store."""

_QUOTATION = 12  # characters
_SHORTEST_SECRET = 4  # a shorter one is in every other word


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


def redacted(message: str, secrets: Iterable[str]) -> str:
    """The message without what it quotes of some texts: each quotation becomes an ellipsis.

    Parameters:
        secrets: texts of any length; a quotation is a whole one, or a dozen characters of it.
    """
    hidden = [False] * len(message)
    for secret in secrets:
        # As JSON has it too: escaped, with or without what is beyond ASCII.
        forms = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
        width = min(_QUOTATION, *map(len, forms))
        if width < _SHORTEST_SECRET:
            continue
        for start in range(len(message) - width + 1):
            window = message[start : start + width]
            if any(window in form for form in forms):
                hidden[start : start + width] = [True] * width
    shown = "".join("\0" if hides else each for each, hides in zip(message, hidden, strict=True))
    return re.sub("\0+", "\N{HORIZONTAL ELLIPSIS}", shown)


def texts_in(value: Any) -> Iterator[str]:
    """All strings in a value of JSON, without the keys of objects."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_in(item)


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
