"""Names of images: what people call them. No file is ever looked up by one."""

from __future__ import annotations

import unicodedata

MAX_NAME_LENGTH = 255


def printable_name(name: str) -> str:
    """The name, as long as it was, with a space for white space and U+FFFD for what is not shown.

    Others could make people read another name, or are refused by databases.
    """
    if name.isprintable():
        return name
    return "".join(map(_printable, name))


def short_name(path: str) -> str | None:
    """A path as a name: composed, printable, its last 255 characters; None where none is left."""
    name = printable_name(unicodedata.normalize("NFC", path)).strip()
    return name[-MAX_NAME_LENGTH:].lstrip() or None


def file_name(path: str) -> str | None:
    """The last part of a path of any system, as :func:`short_name`."""
    return short_name(path.replace("\\", "/").rpartition("/")[2])


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else "\N{REPLACEMENT CHARACTER}"
