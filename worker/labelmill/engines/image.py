"""The image engine: decode and resize on the CPU's cores, run a group in one pass."""

from __future__ import annotations

import io
import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import cast

import PIL.Image
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

from labelmill.core.catalog import ModelSpec
from labelmill.core.errors import JobError
from labelmill.core.job import Image, Job
from labelmill.core.result import LabelScore
from labelmill.core.scatter import scatter
from labelmill.engines import checkpoint
from labelmill.engines.base import Engine
from labelmill.engines.bisect import out_of_memory
from labelmill.engines.budget import BudgetFile, PassBudget, best_of_three, calibrate
from labelmill.engines.labels import LabelDecoder
from labelmill.engines.transfer import Upload, download
from labelmill.images.fetch import ImageFetcher
from labelmill.images.preprocess import Pixels, make_preprocessor

_BUDGETS = [1 << step for step in range(11)]  # to 1,024 images
_PROBE_SIZE = (640, 480)
# Enough for a group's images to be under way together; each may hold a file of the largest size.
_FETCHES = 32


class ImageEngine(Engine[Pixels, torch.Tensor]):
    """``image-classification`` with any ``AutoModelForImageClassification``.

    Attributes:
        budget: how many images a pass takes.

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
        if spec.compile:
            self._model.compile(dynamic=True)  # one program for passes of all sizes
        processor = checkpoint.load_companion(AutoImageProcessor, spec)
        self._preprocessor = make_preprocessor(spec, processor, max_pixels, device)
        self._decoder = LabelDecoder(self._model.config)
        self._fetcher = fetcher
        self.budget = PassBudget(spec.group_size)
        self._cores = ThreadPoolExecutor(_cores(), thread_name_prefix="decode")
        self._fetches = ThreadPoolExecutor(_FETCHES, thread_name_prefix="fetch")
        self._upload = Upload(device)
        self.device = str(device)
        self.revision = checkpoint.weights_revision(spec)

    def calibrate(self, remembered: BudgetFile) -> None:
        """Set the budget to what was the fastest on this device, now or when it was remembered."""
        try:
            probe = self._preprocessor.prepare(_probe())
        except JobError:
            return  # max_pixels allows no image of that size
        key = checkpoint.weights_key(self.revision, self._model)
        self.budget = remembered.budget(
            key, lambda: calibrate(partial(self._seconds, probe), _BUDGETS)
        )

    def waits(self, jobs: Sequence[Job]) -> bool:
        """See :class:`Engine`; whether one of the images lies elsewhere."""
        return any(self._fetcher.is_remote(cast("Image", job.image)) for job in jobs)

    def prepare(self, jobs: Sequence[Job]) -> list[Pixels | JobError]:
        """Fetch, decode and bring to size, on all cores; see :class:`Preprocessor`.

        Images of other machines are fetched many at a time; meanwhile the cores have the others.
        """
        prepared = [
            self._fetches.submit(self._remote_pixels, image)
            if self._fetcher.is_remote(image)
            else self._cores.submit(self._pixels, image)
            for image in (cast("Image", job.image) for job in jobs)
        ]
        return [each.result() for each in prepared]

    def forward(self, inputs: Sequence[Pixels]) -> list[torch.Tensor | JobError]:
        """Run in one pass for each shape; logits have the shape ``[labels]`` each.

        On CUDA they may still be under way: :meth:`decode` waits for them, so that the device has
        its next group by then.
        """
        by_shape: dict[tuple[torch.Size, ...], list[int]] = defaultdict(list)
        for index, item in enumerate(inputs):
            by_shape[tuple(tensor.shape for tensor in item.values())].append(index)
        return scatter(
            len(inputs),
            (
                (indices, self._run_in_passes([inputs[index] for index in indices]))
                for indices in by_shape.values()
            ),
        )

    def decode(
        self, outputs: Sequence[torch.Tensor], top_k: Sequence[int]
    ) -> list[list[LabelScore] | JobError]:
        """See :class:`~labelmill.engines.labels.LabelDecoder`."""
        return self._decoder.decode(download(outputs), top_k)

    def _pixels(self, reference: Image) -> Pixels | JobError:
        try:
            return self._preprocessor.prepare(self._fetcher.fetch(reference))
        except JobError as error:
            return error

    def _remote_pixels(self, reference: Image) -> Pixels | JobError:
        try:
            content = self._fetcher.fetch(reference)
            return self._cores.submit(self._preprocessor.prepare, content).result()
        except JobError as error:
            return error

    def _run_in_passes(self, inputs: Sequence[Pixels]) -> list[torch.Tensor | JobError]:
        rows: list[torch.Tensor | JobError] = []
        while len(rows) < len(inputs):
            images = inputs[len(rows) : len(rows) + self.budget.size]
            if (logits := self._run_if_it_fits(images)) is not None:
                rows.extend(logits)
            elif len(images) == 1:
                rows.append(out_of_memory())
            else:
                self.budget.shrink(len(images))
        return rows

    def _run_if_it_fits(self, images: Sequence[Pixels]) -> torch.Tensor | None:
        try:
            return self._run(images)
        except torch.OutOfMemoryError:
            pass  # what the pass had allocated is only let go with the error
        torch.cuda.empty_cache()
        return None

    @torch.inference_mode()
    def _run(self, images: Sequence[Pixels]) -> torch.Tensor:
        batch = {
            name: self._upload(torch.stack([image[name] for image in images])) for name in images[0]
        }
        finished = self._preprocessor.finish(batch)
        inputs = {name: self._cast(tensor) for name, tensor in finished.items()}
        return cast("torch.Tensor", self._model(**inputs).logits)

    def _seconds(self, probe: Pixels, images: int) -> float:
        """How long a pass over that many images takes."""
        return best_of_three(lambda: self._run([probe] * images).cpu())  # waits for the device

    def _cast(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self._model.dtype) if tensor.is_floating_point() else tensor


def _probe() -> bytes:
    """A file with an image."""
    file = io.BytesIO()
    PIL.Image.new("RGB", _PROBE_SIZE).save(file, "PNG")
    return file.getvalue()


def _cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
