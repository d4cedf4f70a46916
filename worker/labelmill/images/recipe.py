"""The recipe: what an image processor does, in two steps that can be done faster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
import torch

from labelmill.images.affine import Affine, measure_affine
from labelmill.images.geometry import Geometry, geometries
from labelmill.images.levels import Decoded, Levels, Size
from labelmill.images.resize import resize_levels

#: How far a recipe's levels may be from the processor's, of 255, at the worst pixel of a probe and
#: on the average of its pixels. Releases of Pillow differ by as much, since some resize the height
#: of some images first and round in between; another filter, or a crop one pixel off, differs by
#: far more.
MAX_DIFFERENCE, MEAN_DIFFERENCE = 16.0, 0.5

# Heights and widths: larger and smaller than what models take, upright and lying, odd and tiny.
_PROBE_SIZES: Sequence[Size] = (
    (375, 500),
    (500, 375),
    (97, 31),
    (48, 64),
    (16, 150),
    (225, 225),
    (1, 1),
)


@dataclass(frozen=True)
class Recipe:
    """A geometry on the CPU, then an affine step on the device."""

    geometry: Geometry
    affine: Affine


def find_recipe(processor: Any) -> Recipe | None:
    """The recipe that answers as the processor does on a few probe images.

    Parameters:
        processor: an image processor of transformers.

    Returns:
        a recipe within ``MAX_DIFFERENCE`` and ``MEAN_DIFFERENCE`` of the processor on each probe;
        None where there is none, so that only the processor itself will do.
    """

    def answer(image: PIL.Image.Image) -> torch.Tensor:
        return _answer(processor, image)

    try:
        affine = measure_affine(answer)
        if affine is None:
            return None
        # The answers are large: one at a time.
        candidates = [Recipe(each, affine) for each in geometries(processor.to_dict())]
        for size in _PROBE_SIZES:
            probe = _probe(size)
            expected = affine.invert(answer(PIL.Image.fromarray(probe)))
            candidates = [each for each in candidates if _agrees(each, probe, expected)]
    except Exception:  # a processor that has another way of answering, or refuses a probe
        return None
    return candidates[0] if candidates else None


def _answer(processor: Any, image: PIL.Image.Image) -> torch.Tensor:
    """The processor's answer, if that is one float for each channel and pixel, and no more."""
    processed = processor(images=image, return_tensors="pt")
    (name, pixels) = next(iter(processed.items()))
    if list(processed) != ["pixel_values"] or pixels.shape[:2] != (1, 3) or pixels.dim() != 4:
        raise TypeError(f"an answer of {name} {tuple(pixels.shape)}")
    if pixels.dtype != torch.float32:
        raise TypeError(f"an answer of {pixels.dtype}")
    return torch.as_tensor(pixels[0])


def _agrees(recipe: Recipe, probe: Levels, expected: torch.Tensor) -> bool:
    levels = resize_levels(Decoded(probe, probe.shape[:2]), recipe.geometry)
    if levels.shape != expected.shape:
        return False
    difference = (levels[list(recipe.affine.order)] - expected).abs()
    return bool(difference.max() <= MAX_DIFFERENCE and difference.mean() <= MEAN_DIFFERENCE)


def _probe(size: Size) -> Levels:
    """Noise on a slope: fine and coarse structure, and no two places alike."""
    height, width = size
    slope = np.add.outer(np.linspace(0, 64, height), np.linspace(0, 64, width))[..., None]
    noise = np.random.default_rng(0).integers(0, 128, (height, width, 3))
    return (slope + noise).astype(np.uint8)
