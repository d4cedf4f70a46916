"""Decoding: from the bytes of a file to an RGB image, within limits."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import PIL.Image
import PIL.ImageOps
from PIL import TiffImagePlugin, UnidentifiedImageError

from labelmill.core.errors import ErrorCode, JobError
from labelmill.images.jpeg import decode_jpeg
from labelmill.images.levels import Decoded, Size
from labelmill.images.sniff import sniff

# What a build of Pillow lacks (AVIF, WebP) it does not register.
PIL.Image.init()

# Pillow warns of images beyond its limit, and refuses those beyond twice of it: we refuse both.
warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)

_TILE_WIDTH, _TILE_LENGTH = 322, 323  # tags of TIFF
_ORIENTATION, _TURNED = 0x0112, range(2, 9)  # tag of EXIF; 1 is upright


def decode_image(content: bytes, max_pixels: int) -> PIL.Image.Image:
    """Decode a file to RGB, upright, as ``transformers.image_utils.load_image`` does.

    But grey of sixteen bits is scaled, where ``load_image`` makes all but the darkest levels white.

    Parameters:
        max_pixels: the largest width × height, read from the header before anything is decoded.

    Raises:
        JobError: it is no image of a known format, is damaged, or is too large.
    """
    with _opened(content, max_pixels) as image:
        return _upright(image)


def decode_levels(content: bytes, max_pixels: int, needed: Callable[[Size], Size]) -> Decoded:
    """Decode a file to RGB levels, upright; a JPEG by the faster decoder where that is sure of it.

    Parameters:
        max_pixels: the largest width × height, read from the header before anything is decoded.
        needed: the least size of use, given the image's own; a JPEG may be decoded at a fraction
            of its size, but never below this.

    Raises:
        JobError: it is no image of a known format, is damaged, or is too large.
    """
    with _opened(content, max_pixels) as image:
        if _is_plain_jpeg(image):
            size = (image.height, image.width)
            if (decoded := decode_jpeg(content, size, needed(size))) is not None:
                return decoded
        levels = np.array(_upright(image))
        return Decoded(levels, levels.shape[:2])


def _is_plain_jpeg(image: PIL.Image.Image) -> bool:
    """Whether both decoders see the same in it: in grey or YCbCr, one picture, not turned."""
    return (
        image.format == "JPEG"
        and image.mode in {"L", "RGB"}
        and image.getexif().get(_ORIENTATION) not in _TURNED
    )


def _upright(image: PIL.Image.Image) -> PIL.Image.Image:
    upright = PIL.ImageOps.exif_transpose(image)
    if _is_grey_of_sixteen_bits(image):
        # Pillow would cut them off at 255.
        levels = np.asarray(upright).astype(np.uint32)
        upright = PIL.Image.fromarray(((levels + 128) // 257).astype(np.uint8))
    return upright.convert("RGB")


def _is_grey_of_sixteen_bits(image: PIL.Image.Image) -> bool:
    # Of a PGM, Pillow scales what it finds to 65,535, in 32 bits.
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")


@contextmanager
def _opened(content: bytes, max_pixels: int) -> Iterator[PIL.Image.Image]:
    """The image with its header read; what is raised while it is used becomes a job's error."""
    form = sniff(content)
    if form not in PIL.Image.OPEN:
        raise _unknown()
    # Some plugins take memory while they open a file; this is the limit that they obey.
    PIL.Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with PIL.Image.open(io.BytesIO(content), formats=(form,)) as image:
            if max(image.width * image.height, _tile_pixels(image)) > max_pixels:
                raise _too_large(max_pixels)
            yield image
    except UnidentifiedImageError as error:
        raise _unknown() from error
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


def _unknown() -> JobError:
    return JobError(
        ErrorCode.IMAGE_UNREADABLE,
        "the file is no image of a known format; send JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF",
    )


def _too_large(max_pixels: int) -> JobError:
    return JobError(
        ErrorCode.IMAGE_TOO_LARGE,
        f"the image has more than {max_pixels:,} pixels; scale it down",
    )
