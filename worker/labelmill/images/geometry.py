"""Geometry: how an image processor brings an image to size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from PIL.Image import Resampling

from labelmill.images.levels import Size

Mode = Literal["bilinear", "bicubic"]

_MODES: dict[int, Mode] = {Resampling.BILINEAR: "bilinear", Resampling.BICUBIC: "bicubic"}


@dataclass(frozen=True)
class Geometry:
    """A resize and a crop about the centre.

    Parameters:
        resize: a size, whatever the image's proportions; or the length of the shorter edge, which
            keeps them; or None.
        crop: the size that is cut out, filled up with zeros where the image is smaller; or None.
        mode: how pixels are interpolated.
    """

    resize: Size | int | None
    crop: Size | None
    mode: Mode = "bilinear"

    def resized(self, size: Size) -> Size:
        """The size that an image of this size is resized to, before the crop."""
        if self.resize is None:
            return size
        if isinstance(self.resize, tuple):
            return self.resize
        height, width = size
        longer = int(self.resize * max(size) / min(size))
        return (longer, self.resize) if width <= height else (self.resize, longer)


def geometries(config: Mapping[str, Any]) -> Iterator[Geometry]:
    """The geometries that a processor with this configuration may have, the likeliest first.

    The same names mean different things to different processors, so whoever takes one of these
    has to try it.

    Parameters:
        config: what ``to_dict`` of the processor says.
    """
    crop = _sides(config.get("crop_size")) if config.get("do_center_crop") else None
    if not config.get("do_resize"):
        yield Geometry(None, crop)
        return
    mode = _MODES.get(config.get("resample", Resampling.BILINEAR))
    size = config.get("size") or {}
    if mode is None:
        return
    if sides := _sides(size):
        yield Geometry(sides, crop, mode)
    elif set(size) == {"shortest_edge"}:
        edge = size["shortest_edge"]
        yield Geometry(edge, crop, mode)
        if share := config.get("crop_pct"):
            yield Geometry(int(edge / share), crop or (edge, edge), mode)  # ConvNeXt, PoolFormer
        yield Geometry((edge, edge), crop, mode)  # ConvNeXt, from 384 on
        yield Geometry(int((256 / 224) * edge), crop, mode)  # LeViT


def _sides(size: Mapping[str, int] | None) -> Size | None:
    return (size["height"], size["width"]) if size and set(size) == {"height", "width"} else None
