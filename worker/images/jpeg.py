"""JPEG: a decoder that is faster than Pillow's, for files about which there is no doubt."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import simplejpeg

from worker.images.geometry import Size

#: Levels from 0 to 255, of the shape ``[height, width, 3]``.
Levels = npt.NDArray[np.uint8]

# Only powers of two have a fast transform; the eighths between them cost more than the full size.
_FRACTIONS = (8, 4, 2)
_COLOURS = {"Gray", "RGB", "YCbCr"}  # of others, this decoder has another opinion than Pillow


def decode_jpeg(content: bytes, size: Size, needed: Size) -> Levels | None:
    """Decode to RGB, at a half, a quarter or an eighth of the size where that leaves enough.

    At full size the levels are those of Pillow.

    Parameters:
        size: the height and width that the header was read to have.
        needed: the least height and width of the result, if it is made smaller at all.

    Returns:
        the levels; None where the decoder has anything to complain about, be it only a warning.
    """
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        if (height, width) != size or colours not in _COLOURS:
            return None
        least = _scaled(size, needed)
        decoded: Levels = simplejpeg.decode_jpeg(
            content, "RGB", min_height=least[0], min_width=least[1]
        )
    except ValueError:
        return None
    return decoded


def _scaled(size: Size, needed: Size) -> Size:
    for fraction in _FRACTIONS:
        height, width = (-(-side // fraction) for side in size)  # rounded up, as the decoder does
        if height >= needed[0] and width >= needed[1]:
            return height, width
    return size
