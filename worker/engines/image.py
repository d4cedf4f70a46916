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

Pixels = dict[str, torch.Tensor]


class ImageEngine(Engine[Pixels, Logits]):
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
        self._model = checkpoint.load_model(AutoModelForImageClassification, spec, device)
        self._processor = checkpoint.load_companion(AutoImageProcessor, spec)
        self._decoder = LabelDecoder(self._model.config)
        self._fetcher = fetcher
        self._max_pixels = max_pixels
        self._cores = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode")
        self._torch_device = device
        self.device = str(device)
        self.revision = checkpoint.weights_revision(spec)

    def prepare(self, jobs: Sequence[Job]) -> list[Pixels | JobError]:
        """Fetch, decode and preprocess, to the tensors that the model takes, one image each."""
        return list(self._cores.map(self._pixels, [cast("Image", job.image) for job in jobs]))

    def forward(self, inputs: Sequence[Pixels]) -> list[Logits | JobError]:
        """Run in one pass for each shape; logits have the shape ``[labels]`` each."""
        by_shape: dict[tuple[torch.Size, ...], list[int]] = defaultdict(list)
        for index, item in enumerate(inputs):
            by_shape[tuple(tensor.shape for tensor in item.values())].append(index)
        logits: list[Logits | JobError | None] = [None] * len(inputs)
        for indices in by_shape.values():
            rows = self._run([inputs[i] for i in indices])
            for index, row in zip(indices, rows, strict=True):
                logits[index] = row
        return cast("list[Logits | JobError]", logits)

    def decode(
        self, outputs: Sequence[Logits], top_k: Sequence[int]
    ) -> list[list[LabelScore] | JobError]:
        """See :class:`~worker.engines.labels.LabelDecoder`."""
        return self._decoder.decode(outputs, top_k)

    def _pixels(self, reference: Image) -> Pixels | JobError:
        try:
            image = decode_image(self._fetcher.fetch(reference), self._max_pixels)
        except JobError as error:
            return error
        processed = self._processor(images=image, return_tensors="pt")
        return {name: tensor[0] for name, tensor in processed.items()}

    def _run(self, inputs: Sequence[Pixels]) -> Logits:
        with torch.inference_mode():
            batch = {name: self._stack([item[name] for item in inputs]) for name in inputs[0]}
            logits = self._model(**batch).logits
            return cast("Logits", logits.float().cpu().numpy())

    def _stack(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        stacked = torch.stack(list(tensors))
        dtype = self._model.dtype if stacked.is_floating_point() else stacked.dtype
        return stacked.to(self._torch_device, dtype)
