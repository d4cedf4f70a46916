"""Sniffing: a file's format by its first bytes, whatever its name or its server says."""

from __future__ import annotations

import re

# By Pillow's name of the format; the same bytes as Pillow's own plugins go by.
_SIGNATURES = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "GIF": rb"GIF8[79]a",
    "WEBP": rb"RIFF.{4}WEBP",
    "BMP": rb"BM",
    "TIFF": rb"II\*\0|MM\0\*|II\+\0|MM\0\+",
    "AVIF": rb".{4}ftyp(?:avif|avis|mif1|msf1)",
    "PPM": rb"P[1-6][\s#]|Pf\s",
}
_FORMATS = {name: re.compile(pattern, re.DOTALL) for name, pattern in _SIGNATURES.items()}


def sniff(content: bytes) -> str | None:
    """The format that a file begins like; None if that is not one of those that are decoded."""
    return next((name for name, pattern in _FORMATS.items() if pattern.match(content)), None)
