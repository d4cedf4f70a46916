"""Resizing: from decoded levels to those of the model's size."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812

from labelmill.images.geometry import Geometry, Mode
from labelmill.images.levels import Decoded, Size


def resize_levels(decoded: Decoded, geometry: Geometry) -> torch.Tensor:
    """Resize, with antialiasing, and crop about the centre.

    torch interpolates bytes as they lie, a row of RGB after the other, several times as fast as
    Pillow, and in one thread.

    Returns:
        ``uint8`` levels of the shape ``[3, height, width]``, contiguous.
    """
    image = torch.from_numpy(decoded.levels).permute(2, 0, 1)
    resized = geometry.resized(decoded.size)
    if decoded.fraction > 1:
        image = _interpolate_fraction(image, decoded, resized, geometry.mode)
    elif resized != decoded.size:
        image = F.interpolate(image[None], size=resized, mode=geometry.mode, antialias=True)[0]
    if geometry.crop is not None:
        image = _center_crop(image, geometry.crop)
    return image.contiguous()


def _interpolate_fraction(
    image: torch.Tensor, decoded: Decoded, size: Size, mode: Mode
) -> torch.Tensor:
    """Resize by the image's own proportions to the size.

    To resize by those of the fraction would shift edges, by up to half a pixel, where its last row
    or column stands for less than the others.
    """
    scales = [
        target * decoded.fraction / source * (1 + 1e-9)  # rounded down, it gives the target
        for target, source in zip(size, decoded.size, strict=True)
    ]
    return F.interpolate(image[None], scale_factor=scales, mode=mode, antialias=True)[0]


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
