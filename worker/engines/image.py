"""The image engine: decode and resize on the CPU's cores, run a group in one pass."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import torch
from celery.utils.log import get_logger
from transformers import AutoImageProcessor, AutoModelForImageClassification

from db.errors import ErrorCode, JobError
from db.tables import LabelScore
from producer.contract.catalog import ModelSpec
from producer.contract.job import Image, Job
from worker.engines import checkpoint
from worker.engines.base import Engine
from worker.engines.labels import LabelDecoder, Logits
from worker.images.fetch import ImageFetcher
from worker.images.preprocess import Pixels, make_preprocessor

logger = get_logger(__name__)


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
        processor = checkpoint.load_companion(AutoImageProcessor, spec)
        self._preprocessor = make_preprocessor(spec, processor, max_pixels, device)
        self._decoder = LabelDecoder(self._model.config)
        self._fetcher = fetcher
        self._max_images_a_pass = spec.group_size
        self._cores = ThreadPoolExecutor(_cores(), thread_name_prefix="decode")
        self._torch_device = device
        self.device = str(device)
        self.revision = checkpoint.weights_revision(spec)

    def prepare(self, jobs: Sequence[Job]) -> list[Pixels | JobError]:
        """Fetch, decode and bring to size, on all cores; see :class:`Preprocessor`."""
        return list(self._cores.map(self._pixels, [cast("Image", job.image) for job in jobs]))

    def forward(self, inputs: Sequence[Pixels]) -> list[Logits | JobError]:
        """Run in one pass for each shape, or in several where the device has too little memory.

        Returns:
            logits of the shape ``[labels]`` each.
        """
        by_shape: dict[tuple[torch.Size, ...], list[int]] = defaultdict(list)
        for index, item in enumerate(inputs):
            by_shape[tuple(tensor.shape for tensor in item.values())].append(index)
        logits: list[Logits | JobError | None] = [None] * len(inputs)
        for indices in by_shape.values():
            rows = self._run_in_passes([inputs[i] for i in indices])
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
            return self._preprocessor.prepare(self._fetcher.fetch(reference))
        except JobError as error:
            return error

    def _run_in_passes(self, inputs: Sequence[Pixels]) -> list[Logits | JobError]:
        """Run images of one shape, in no more at once than the device was found to have room for.

        The limit is halved whenever the memory runs out, and stays so while the process lives.
        """
        rows: list[Logits | JobError] = []
        while len(rows) < len(inputs):
            images = inputs[len(rows) : len(rows) + self._max_images_a_pass]
            if (logits := self._run_if_it_fits(images)) is not None:
                rows.extend(logits)
            elif len(images) == 1:
                rows.append(_out_of_memory())
            else:
                self._max_images_a_pass = len(images) // 2
                logger.warning(
                    "%s: %d images at once are too many for the memory of %s; now at most %d",
                    self.spec.checkpoint,
                    len(images),
                    self.device,
                    self._max_images_a_pass,
                )
        return rows

    def _run_if_it_fits(self, images: Sequence[Pixels]) -> Logits | None:
        try:
            return self._run(images)
        except torch.OutOfMemoryError:
            pass  # what the pass had allocated is only let go with the error
        torch.cuda.empty_cache()
        return None

    def _run(self, images: Sequence[Pixels]) -> Logits:
        with torch.inference_mode():
            batch = {name: self._stack([image[name] for image in images]) for name in images[0]}
            finished = self._preprocessor.finish(batch)
            logits = self._model(**{name: self._cast(each) for name, each in finished.items()})
            return cast("Logits", logits.logits.float().cpu().numpy())

    def _stack(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        if self._torch_device.type != "cuda":
            return torch.stack(list(tensors)).to(self._torch_device)
        # From pinned memory the copy runs beside whatever the device is at.
        pinned = torch.empty(
            (len(tensors), *tensors[0].shape), dtype=tensors[0].dtype, pin_memory=True
        )
        torch.stack(list(tensors), out=pinned)
        return pinned.to(self._torch_device, non_blocking=True)

    def _cast(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self._model.dtype) if tensor.is_floating_point() else tensor


def _cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _out_of_memory() -> JobError:
    return JobError(
        ErrorCode.OUT_OF_MEMORY,
        "the device has too little memory for this job alone; use a larger one",
    )
