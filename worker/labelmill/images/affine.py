"""The affine step: what an image processor makes of a level, when rescaled and normalised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import PIL.Image
import torch

#: An image processor's answer for one RGB image, of the shape ``[3, height, width]``.
Answer = Callable[[PIL.Image.Image], torch.Tensor]

# Of a different level in each channel, so that their order shows.
_COLOUR = (10, 100, 200)


@dataclass(frozen=True)
class Affine:
    """For each channel of the result: the image's channel, times ``scale``, plus ``offset``.

    Parameters:
        order: which channel of the image each channel of the result is.
        scale: of the shape ``[3, 1, 1]``, not 0.
        offset: of the shape ``[3, 1, 1]``.
    """

    order: tuple[int, int, int]
    scale: torch.Tensor
    offset: torch.Tensor

    def to(self, device: torch.device) -> Affine:
        """The same on a device."""
        return Affine(self.order, self.scale.to(device), self.offset.to(device))

    def apply(self, levels: torch.Tensor) -> torch.Tensor:
        """``uint8`` levels ``[…, 3, height, width]`` as the ``float32`` that a model takes."""
        if self.order != (0, 1, 2):
            levels = levels[..., self.order, :, :]
        return levels.to(torch.float32).mul_(self.scale).add_(self.offset)

    def invert(self, pixels: torch.Tensor) -> torch.Tensor:
        """The levels, channels in the order of the result, that give these numbers."""
        return (pixels - self.offset) / self.scale


def measure_affine(answer: Answer) -> Affine | None:
    """Find out the affine step of a processor from what it makes of plain colours.

    So whatever the processor does to the levels of an image is covered, under any name: divide,
    shift, normalise once or twice, or flip the channels.

    Returns:
        the step; None where three colours show that it is no affine one.
    """
    black, white = _centre(answer, (0, 0, 0)), _centre(answer, (255, 255, 255))
    scale = (white - black) / 255
    if not (torch.isfinite(scale).all() and scale.abs().min() > 0):
        return None
    colour = (_centre(answer, _COLOUR) - black) / scale
    seen = colour.round().int().tolist()
    if sorted(seen) != sorted(_COLOUR) or (colour - colour.round()).abs().max() > 0.01:
        return None
    first, second, third = (_COLOUR.index(level) for level in seen)
    return Affine((first, second, third), _column(scale), _column(black))


def _centre(answer: Answer, colour: tuple[int, int, int]) -> torch.Tensor:
    """What the pixel in the middle becomes, around which the processor may have put a border."""
    pixels = answer(PIL.Image.new("RGB", (64, 64), colour)).double()
    return pixels[:, pixels.shape[1] // 2, pixels.shape[2] // 2]


def _column(channels: torch.Tensor) -> torch.Tensor:
    return channels.to(torch.float32)[:, None, None]
