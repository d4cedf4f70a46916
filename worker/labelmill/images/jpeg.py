"""JPEG: a decoder that is faster than Pillow's, for files about which there is no doubt."""

from __future__ import annotations

import simplejpeg

from labelmill.images.levels import Decoded, Size

# Only powers of two have a fast transform; the eighths between them cost more than the full size.
_FRACTIONS = (8, 4, 2)
_COLOURS = {"Gray", "RGB", "YCbCr"}  # of others, this decoder has another opinion than Pillow


def decode_jpeg(content: bytes, size: Size, needed: Size) -> Decoded | None:
    """Decode to RGB, at a half, a quarter or an eighth of the size where that leaves enough.

    At full size the levels are those of Pillow.

    Parameters:
        size: the height and width that the header was read to have.
        needed: the least height and width of the result, if it is made smaller at all.

    Returns:
        the image; None where the decoder has anything to complain about, be it only a warning.
    """
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        if (height, width) != size or colours not in _COLOURS:
            return None
        fraction = _fraction(size, needed)
        height, width = _reduced(size, fraction)
        levels = simplejpeg.decode_jpeg(content, "RGB", min_height=height, min_width=width)
    except ValueError:
        return None
    return Decoded(levels, size, fraction)


def _fraction(size: Size, needed: Size) -> int:
    for fraction in _FRACTIONS:
        height, width = _reduced(size, fraction)
        if height >= needed[0] and width >= needed[1]:
            return fraction
    return 1


def _reduced(size: Size, fraction: int) -> Size:
    return -(-size[0] // fraction), -(-size[1] // fraction)  # rounded up, as the decoder does
