"""Encodings: guessed from the beginning of a text; bytes that do not fit are marked, not fatal."""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

from labelmill.core.errors import ConfigurationError

#: Stands for a byte that could not be decoded; no text that was decoded has it.
MARK = "\udcff"

#: The name of the error handler that puts it there.
MARK_ERRORS = "labelmill-mark"
_WINDOWS_ERRORS = "labelmill-windows-1252"
_WINDOWS = "cp1252"

# The longer first: the mark of UTF-32 begins with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Encoding(NamedTuple):
    """A codec, what it does with bytes that do not fit, and a note where it is a bold guess."""

    codec: str
    errors: str
    note: str | None = None


def named_encoding(name: str) -> Encoding:
    """The encoding that the user has named.

    Raises:
        ConfigurationError: there is none of that name for text.
    """
    try:
        info = codecs.lookup(name)
        "".encode(name)
    except (LookupError, ValueError):
        raise ConfigurationError(
            f"there is no encoding {name!r}; try utf-8, windows-1252, utf-16 or gb18030"
        ) from None
    return Encoding("utf-8-sig" if info.name == "utf-8" else info.name, MARK_ERRORS)


def guess_encoding(sample: bytes) -> Encoding:
    """The encoding of a text, by its first bytes: a byte order mark, UTF-8, UTF-16, windows-1252.

    Parameters:
        sample: may end in the middle of a character.
    """
    for mark, codec in _BYTE_ORDER_MARKS:
        if sample.startswith(mark):
            return Encoding(codec, MARK_ERRORS)
    if (wide := _wide(sample)) is not None:
        return Encoding(wide, MARK_ERRORS, f"read as {wide}")
    if sample.isascii():
        # What comes later decides, byte by byte: no text in windows-1252 is UTF-8 by chance.
        return Encoding("utf-8", _WINDOWS_ERRORS)
    good, bad = _sequences(sample)
    if good > bad:
        return Encoding("utf-8", MARK_ERRORS)
    return Encoding(
        _WINDOWS, MARK_ERRORS, "read as windows-1252, since it is not UTF-8; or say --encoding"
    )


def _wide(sample: bytes) -> str | None:
    """UTF-16 without a byte order mark: every other byte of European text is zero."""
    some = sample[:4096]
    if len(some) < 4 or some.count(0) < len(some) * 0.3:
        return None
    even, odd = some[::2].count(0), some[1::2].count(0)
    if odd > 10 * even:
        return "utf-16-le"
    return "utf-16-be" if even > 10 * odd else None


_MULTIBYTE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)


def _sequences(sample: bytes) -> tuple[int, int]:
    """How many characters beyond ASCII are UTF-8, and how many bytes are not."""
    rest, good = _MULTIBYTE.subn(b"", sample)
    bad = sum(byte >= 0x80 for byte in rest[:-3])  # the last may be one that was cut off
    return good, bad


def _mark(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101 - nothing is encoded with it
    return MARK * (error.end - error.start), error.end


def _as_windows(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101 - nothing is encoded with it
    return error.object[error.start : error.end].decode(_WINDOWS, MARK_ERRORS), error.end


codecs.register_error(MARK_ERRORS, _mark)
codecs.register_error(_WINDOWS_ERRORS, _as_windows)
