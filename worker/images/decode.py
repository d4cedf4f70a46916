"""Decoding: from the bytes of a file to an RGB image, within limits."""

from __future__ import annotations

import io
import warnings

import PIL.Image
import PIL.ImageOps
from PIL import TiffImagePlugin, UnidentifiedImageError

from db.errors import ErrorCode, JobError

# What a build of Pillow lacks (AVIF, WebP) it does not register.
PIL.Image.init()
_FORMATS = tuple(
    name
    for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")
    if name in PIL.Image.OPEN
)

# Pillow warns of images beyond its limit, and refuses those beyond twice of it: we refuse both.
warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)

_TILE_WIDTH, _TILE_LENGTH = 322, 323  # tags of TIFF


def decode_image(content: bytes, max_pixels: int) -> PIL.Image.Image:
    """Decode a file to RGB, upright, as ``transformers.image_utils.load_image`` does.

    Parameters:
        max_pixels: the largest width × height, read from the header before anything is decoded.

    Raises:
        JobError: it is no image of a known format, is damaged, or is too large.
    """
    # Some plugins take memory while they open a file; this is the limit that they obey.
    PIL.Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with PIL.Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if max(image.width * image.height, _tile_pixels(image)) > max_pixels:
                raise _too_large(max_pixels)
            return PIL.ImageOps.exif_transpose(image).convert("RGB")
    except UnidentifiedImageError as error:
        raise JobError(
            ErrorCode.IMAGE_UNREADABLE,
            "the file is no image of a known format; send JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF",
        ) from error
    except JobError:
        raise
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise _too_large(max_pixels) from error
    except Exception as error:  # Pillow's plugins raise many kinds on damaged files
        raise JobError(
            ErrorCode.IMAGE_UNREADABLE,
            f"the image is damaged and cannot be decoded ({type(error).__name__})",
        ) from error


def _tile_pixels(image: PIL.Image.Image) -> int:
    """The pixels of a TIFF's tile, which is decoded whole however little of it is shown."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 0
    return int(image.tag_v2.get(_TILE_WIDTH, 0)) * int(image.tag_v2.get(_TILE_LENGTH, 0))


def _too_large(max_pixels: int) -> JobError:
    return JobError(
        ErrorCode.IMAGE_TOO_LARGE,
        f"the image has more than {max_pixels:,} pixels; scale it down",
    )
