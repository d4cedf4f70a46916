"""Thumbnails: an image file as a small WebP, for people to see what a label was given to."""

from __future__ import annotations

import io
import warnings

from labelmill.core.errors import ConfigurationError, ErrorCode, JobError

try:
    import PIL.Image
    import PIL.ImageOps
except ModuleNotFoundError as error:
    raise ConfigurationError(
        "thumbnails need Pillow: pip install 'labelmill[bulk]' for a report,"
        " 'labelmill[gateway]' for the page"
    ) from error

MAX_PIXELS = 50_000_000
"""The largest image that is decoded, as that of a worker by default."""

# Those that a worker reads and this build of Pillow has.
PIL.Image.init()
_FORMATS = tuple(
    name
    for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")
    if name in PIL.Image.OPEN
)
_QUALITY = 75

# Pillow warns of images beyond its limit, and refuses those beyond twice of it: we refuse both.
warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)


def thumbnail(content: bytes, side: int = 160) -> bytes:
    """A WebP of the image, upright, at most ``side`` pixels wide and high; it is never enlarged.

    Parameters:
        content: of a file of any format that workers read; of an animation the first picture.

    Raises:
        JobError: it is no image or damaged (``IMAGE_UNREADABLE``), or has more than
            ``MAX_PIXELS`` (``IMAGE_TOO_LARGE``).
    """
    # Some plugins take memory while they open a file; this is the limit that they obey.
    PIL.Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    try:
        with PIL.Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large()
            # A JPEG is decoded at a fraction of its size.
            image.draft("RGB", (side * 2, side * 2))
            return _encoded(_small(image, side))
    except JobError:
        raise
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise _too_large() from error
    except Exception as error:  # Pillow's plugins raise many kinds on damaged files
        raise JobError(
            ErrorCode.IMAGE_UNREADABLE,
            f"the image is damaged or of no known format ({type(error).__name__})",
        ) from error


def _small(image: PIL.Image.Image, side: int) -> PIL.Image.Image:
    if image.mode.startswith("I"):
        # Grey of sixteen bits, which Pillow would cut off at 255.
        image = image.convert("I").point(lambda level: level / 257).convert("L")
    transparent = "transparency" in image.info or image.mode in {"LA", "PA", "RGBA", "La", "RGBa"}
    small = image.convert("RGBA" if transparent else "RGB")
    small.thumbnail((side, side))
    return PIL.ImageOps.exif_transpose(small)


def _encoded(image: PIL.Image.Image) -> bytes:
    output = io.BytesIO()
    # No EXIF goes along: it may say where a photograph was taken.
    image.save(output, "WEBP", quality=_QUALITY, exif=b"", icc_profile=None)
    return output.getvalue()


def _too_large() -> JobError:
    return JobError(
        ErrorCode.IMAGE_TOO_LARGE, f"the image has more than {MAX_PIXELS:,} pixels; scale it down"
    )
