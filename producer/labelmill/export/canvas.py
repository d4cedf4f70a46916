"""Canvases: rectangles and lines of text, drawn as SVG or as PNG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol
from xml.sax.saxutils import escape, quoteattr

from labelmill.core.errors import ConfigurationError

Anchor = Literal["start", "middle", "end"]


class Canvas(Protocol):
    """What a picture is drawn on; units are pixels, colours ``#rrggbb``."""

    def rectangle(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        """Fill a rectangle."""

    def text(
        self, x: float, y: float, text: str, size: int, fill: str, anchor: Anchor = "start"
    ) -> None:
        """Write a line whose middle is at height ``y``."""

    def content(self) -> bytes:
        """The file."""


class Svg:
    """A canvas that becomes an SVG."""

    def __init__(self, width: int, height: int) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
            f' viewBox="0 0 {width} {height}"'
            ' font-family="system-ui, Segoe UI, Roboto, Noto Sans, sans-serif">'
        ]

    def rectangle(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        """Fill a rectangle."""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
            f" fill={quoteattr(fill)}/>"
        )

    def text(
        self, x: float, y: float, text: str, size: int, fill: str, anchor: Anchor = "start"
    ) -> None:
        """Write a line whose middle is at height ``y``."""
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill={quoteattr(fill)}'
            f' text-anchor="{anchor}" dominant-baseline="central">{escape(_printable(text))}</text>'
        )

    def content(self) -> bytes:
        """The file."""
        return "\n".join([*self._parts, "</svg>\n"]).encode(errors="replace")


class Png:
    """A canvas that becomes a PNG, at twice the size, which sharp screens need."""

    _SCALE = 2
    _ANCHORS: Mapping[Anchor, str] = {"start": "lm", "middle": "mm", "end": "rm"}

    def __init__(self, width: int, height: int) -> None:
        try:
            import PIL.Image
            import PIL.ImageDraw
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                "PNG needs Pillow: pip install 'labelmill[bulk]'; or write an .svg"
            ) from error
        self._image = PIL.Image.new("RGB", (width * self._SCALE, height * self._SCALE), "white")
        self._draw = PIL.ImageDraw.Draw(self._image)

    def rectangle(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        """Fill a rectangle."""
        scale = self._SCALE
        ends = (x + width) * scale - 1, (y + height) * scale - 1
        self._draw.rectangle((x * scale, y * scale, *ends), fill=fill)

    def text(
        self, x: float, y: float, text: str, size: int, fill: str, anchor: Anchor = "start"
    ) -> None:
        """Write a line whose middle is at height ``y``."""
        from PIL import ImageFont

        self._draw.text(
            (x * self._SCALE, y * self._SCALE),
            _printable(text),
            fill=fill,
            font=ImageFont.load_default(size * self._SCALE),
            anchor=self._ANCHORS[anchor],
        )

    def content(self) -> bytes:
        """The file."""
        import io

        output = io.BytesIO()
        self._image.save(output, "PNG", optimize=True)
        return output.getvalue()


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)
