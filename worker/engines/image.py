"""The image engine: decode and resize on the CPU's cores, run a group in one pass."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

from db.errors import JobError
from db.tables import LabelScore
from producer.contract.catalog import ModelSpec
from producer.contract.job import Image, Job
from worker.engines import checkpoint
from worker.engines.base import Engine
from worker.engines.labels import LabelDecoder, Logits
from worker.images.decode import decode_image
from worker.images.fetch import ImageFetcher


class ImageEngine(Engine[torch.Tensor, Logits]):
    """``image-classification`` with any ``AutoModelForImageClassification``.

    Parameters:
        fetcher: where image references are read.
        max_pixels: the largest image that is decoded.

    Raises:
        ModelLoadError: the checkpoint cannot be loaded.
    """

    def __init__(self, spec: ModelSpec, fetcher: ImageFetcher, max_pixels: int) -> None:
        super().__init__(spec)
        device = checkpoint.choose_device(spec)
        self._processor = checkpoint.load_companion(AutoImageProcessor, spec)
        self._model = checkpoint.load_model(AutoModelForImageClassification, spec, device)
        self._decoder = LabelDecoder(self._model.config)
        self._fetcher = fetcher
        self._max_pixels = max_pixels
        self._cores = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode")
        self._torch_device = device
        self.device = str(device)
        self.revision = checkpoint.weights_revision(spec)

    def prepare(self, jobs: Sequence[Job]) -> list[torch.Tensor | JobError]:
        """Fetch, decode and preprocess, to the shape ``[channels, height, width]`` each."""
        return list(self._cores.map(self._pixels, [cast("Image", job.image) for job in jobs]))

    def forward(self, inputs: Sequence[torch.Tensor]) -> list[Logits | JobError]:
        """Run in one pass for each shape; logits have the shape ``[labels]`` each."""
        by_shape: dict[torch.Size, list[int]] = defaultdict(list)
        for index, pixels in enumerate(inputs):
            by_shape[pixels.shape].append(index)
        logits: list[Logits | JobError | None] = [None] * len(inputs)
        for indices in by_shape.values():
            rows = self._run(torch.stack([inputs[i] for i in indices]))
            for index, row in zip(indices, rows, strict=True):
                logits[index] = row
        return cast("list[Logits | JobError]", logits)

    def decode(
        self, outputs: Sequence[Logits], top_k: Sequence[int]
    ) -> list[list[LabelScore] | JobError]:
        """See :class:`~worker.engines.labels.LabelDecoder`."""
        return self._decoder.decode(outputs, top_k)

    def _pixels(self, reference: Image) -> torch.Tensor | JobError:
        try:
            image = decode_image(self._fetcher.fetch(reference), self._max_pixels)
        except JobError as error:
            return error
        processed = self._processor(images=image, return_tensors="pt")
        return cast("torch.Tensor", processed["pixel_values"][0])

    def _run(self, pixels: torch.Tensor) -> Logits:
        with torch.inference_mode():
            batch = pixels.to(self._torch_device, self._model.dtype)
            logits = self._model(pixel_values=batch).logits
            return cast("Logits", logits.float().cpu().numpy())
