"""Preprocessing: from the bytes of a file to what a model takes."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import Any

import torch

from labelmill.core.catalog import ModelSpec
from labelmill.core.errors import ErrorCode, JobError
from labelmill.images.decode import decode_image, decode_levels
from labelmill.images.levels import Size
from labelmill.images.recipe import Recipe, find_recipe
from labelmill.images.resize import resize_levels

logger = logging.getLogger(__name__)

#: Tensors by the name of the model's parameter; of one image, or stacked.
Pixels = dict[str, torch.Tensor]

#: A JPEG is decoded at a fraction of its size only if that leaves this many times the pixels,
#: along each side, of the size that it is then resized to.
SPARE = 2


class Preprocessor(ABC):
    """Two steps: one for each image, on the CPU's cores; one for a batch, on the device."""

    @abstractmethod
    def prepare(self, content: bytes) -> Pixels:
        """Decode a file and bring it to size.

        Raises:
            JobError: it is no image of a known format, is damaged, or is too large.
        """

    @abstractmethod
    def finish(self, batch: Pixels) -> Pixels:
        """Make stacked tensors what the model takes."""


class ExactPreprocessor(Preprocessor):
    """The checkpoint's own image processor.

    Parameters:
        processor: an image processor of transformers.
        max_pixels: the largest image that is decoded.
    """

    def __init__(self, processor: Any, max_pixels: int) -> None:
        self._processor = processor
        self._max_pixels = max_pixels

    def prepare(self, content: bytes) -> Pixels:
        """See :class:`Preprocessor`."""
        image = decode_image(content, self._max_pixels)
        processed = self._processor(images=image, return_tensors="pt")
        return {name: tensor[0] for name, tensor in processed.items()}

    def finish(self, batch: Pixels) -> Pixels:
        """See :class:`Preprocessor`; all is done by then."""
        return batch


class FastPreprocessor(Preprocessor):
    """A recipe: bytes up to the device, and numbers from there.

    Parameters:
        recipe: what the checkpoint's own image processor does.
        max_pixels: the largest image that is decoded, or that one may be resized to.
        device: where batches are finished.
    """

    def __init__(self, recipe: Recipe, max_pixels: int, device: torch.device) -> None:
        self._geometry = recipe.geometry
        self._affine = recipe.affine.to(device)
        self._max_pixels = max_pixels

    def prepare(self, content: bytes) -> Pixels:
        """See :class:`Preprocessor`; ``uint8`` levels ``[3, height, width]``."""
        decoded = decode_levels(content, self._max_pixels, self._needed)
        self._check_size(decoded.size)
        return {"pixel_values": resize_levels(decoded, self._geometry)}

    def finish(self, batch: Pixels) -> Pixels:
        """See :class:`Preprocessor`; ``float32`` of the shape ``[images, 3, height, width]``."""
        return {"pixel_values": self._affine.apply(batch["pixel_values"])}

    def _needed(self, size: Size) -> Size:
        height, width = self._geometry.resized(size)
        return SPARE * height, SPARE * width

    def _check_size(self, size: Size) -> None:
        height, width = self._geometry.resized(size)
        if height * width > self._max_pixels:  # one row of pixels, say, to the model's height
            raise JobError(
                ErrorCode.IMAGE_TOO_LARGE,
                f"the image has more than {self._max_pixels:,} pixels when it is scaled to what "
                "the model takes; crop it",
            )


def make_preprocessor(
    spec: ModelSpec, processor: Any, max_pixels: int, device: torch.device
) -> Preprocessor:
    """The fast way, if it leads where the processor does; else, or if asked for, the exact one.

    Parameters:
        processor: the checkpoint's image processor.
        max_pixels: the largest image that is decoded.
        device: where the model runs.
    """
    if spec.exact:
        return ExactPreprocessor(processor, max_pixels)
    recipe = find_recipe(processor)
    if recipe is None:
        logger.warning(
            "%s: no faster way gives what its %s gives; images take that one",
            spec.checkpoint,
            type(processor).__name__,
        )
        return ExactPreprocessor(processor, max_pixels)
    return FastPreprocessor(recipe, max_pixels, device)
