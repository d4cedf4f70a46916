"""Levels: the pixels of a decoded image, as bytes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

#: Height and width.
Size = tuple[int, int]

#: Levels from 0 to 255, of the shape ``[height, width, 3]``.
Levels = npt.NDArray[np.uint8]


class Decoded(NamedTuple):
    """An image in RGB, upright.

    Attributes:
        levels: its pixels, or fewer.
        size: the height and width of the image itself.
        fraction: of how many pixels of the image, along each side, ``levels`` has one; the last
            row and column may stand for fewer.
    """

    levels: Levels
    size: Size
    fraction: int = 1
