"""Decoding: from the bytes of a file to an RGB image, within limits."""

from __future__ import annotations

import io

import PIL.Image
import PIL.ImageOps
from PIL import UnidentifiedImageError

from db.errors import ErrorCode, JobError

# What a build of Pillow lacks (AVIF, WebP) it does not register.
PIL.Image.init()
_FORMATS = tuple(
    name
    for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")
    if name in PIL.Image.OPEN
)

# Pillow's own limit warns, once a process and from any thread; ours is checked below.
PIL.Image.MAX_IMAGE_PIXELS = None


def decode_image(content: bytes, max_pixels: int) -> PIL.Image.Image:
    """Decode a file to RGB, upright, as ``transformers.image_utils.load_image`` does.

    Parameters:
        max_pixels: the largest width × height, read from the header before anything is decoded.

    Raises:
        JobError: it is no image of a known format, is damaged, or is too large.
    """
    try:
        with PIL.Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise JobError(
                    ErrorCode.IMAGE_TOO_LARGE,
                    f"the image has {width} × {height} pixels, the limit is {max_pixels:,}; "
                    "scale it down",
                )
            return PIL.ImageOps.exif_transpose(image).convert("RGB")
    except UnidentifiedImageError as error:
        raise JobError(
            ErrorCode.IMAGE_UNREADABLE,
            "the file is no image of a known format; send JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF",
        ) from error
    except JobError:
        raise
    except Exception as error:  # Pillow's plugins raise many kinds on damaged files
        raise JobError(
            ErrorCode.IMAGE_UNREADABLE,
            f"the image is damaged and cannot be decoded ({type(error).__name__})",
        ) from error
