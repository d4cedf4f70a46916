"""Resizing: from decoded levels to those of the model's size."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812

from worker.images.geometry import Geometry, Mode, Size
from worker.images.jpeg import Levels


def resize_levels(levels: Levels, geometry: Geometry, resized: Size) -> torch.Tensor:
    """Resize, with antialiasing, and crop about the centre.

    torch interpolates bytes as they lie, a row of RGB after the other, several times as fast as
    Pillow and within two levels of it, and it does so in one thread.

    Parameters:
        resized: the size before the crop; told, since ``levels`` may be scaled down already.

    Returns:
        ``uint8`` levels of the shape ``[3, height, width]``, contiguous.
    """
    image = torch.from_numpy(levels).permute(2, 0, 1)
    if resized != tuple(image.shape[1:]):
        image = _interpolate(image, resized, geometry.mode)
    if geometry.crop is not None:
        image = _center_crop(image, geometry.crop)
    return image.contiguous()


def _interpolate(image: torch.Tensor, size: Size, mode: Mode) -> torch.Tensor:
    return F.interpolate(image[None], size=size, mode=mode, antialias=True)[0]


def _center_crop(image: torch.Tensor, size: Size) -> torch.Tensor:
    """Of an odd remainder, the larger part is cut off, or filled up with zeros, above and left."""
    height, width = image.shape[1:]
    spare_rows, spare_columns = height - size[0], width - size[1]
    if spare_rows < 0 or spare_columns < 0:
        top, left = -(min(spare_rows, 0) // 2), -(min(spare_columns, 0) // 2)
        bottom, right = max(-spare_rows, 0) - top, max(-spare_columns, 0) - left
        image = F.pad(image, (left, right, top, bottom))
    top, left = max(spare_rows, 0) // 2, max(spare_columns, 0) // 2
    return image[:, top : top + size[0], left : left + size[1]]
