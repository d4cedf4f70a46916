"""Images: files of every kind, made in memory."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import PIL.Image

from labelmill.core.job import Job, parse_job

#: The EXIF tag that says how a camera was held.
ORIENTATION = 0x0112


def picture(width: int = 64, height: int = 48, mode: str = "RGB", seed: int = 0) -> PIL.Image.Image:
    """Blotches of colour, which survive compression and differ with the seed."""
    small = (max(1, height // 8), max(1, width // 8), 3)
    blotches = np.random.default_rng(seed).integers(0, 256, small, dtype=np.uint8)
    image = PIL.Image.fromarray(blotches).resize((width, height), PIL.Image.Resampling.BILINEAR)
    if mode in {"LA", "RGBA"}:
        image.putalpha(image.getchannel(0))
    return image.convert(mode)


def encoded(image: PIL.Image.Image, format: str = "PNG", **options: Any) -> bytes:  # noqa: A002
    """The image as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def turned(orientation: int, format: str = "JPEG") -> bytes:  # noqa: A002
    """A file whose EXIF says that the camera was turned."""
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(picture(), format, exif=exif)


def inline_job(content: bytes) -> Job:
    """A job with the file in the message itself."""
    return parse_job({"image": {"base64": base64.b64encode(content).decode()}})


def uri_job(uri: str) -> Job:
    """A job with a reference to the file."""
    return parse_job({"image": {"uri": uri}})
