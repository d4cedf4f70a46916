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
from labelmill.core.running import RunningModel
from labelmill.core.scatter import scatter
from labelmill.engines import checkpoint, transfer
from labelmill.engines.base import Engine
from labelmill.engines.bisect import out_of_memory
from labelmill.engines.budget import BudgetFile, PassBudget, best_of_three, calibrate
from labelmill.engines.device import open_device
from labelmill.engines.labels import LabelDecoder
from labelmill.engines.memory import within_memory
from labelmill.engines.precision import refine_head
from labelmill.engines.transfer import Row
from labelmill.images.fetch import ImageFetcher
from labelmill.images.preprocess import Pixels, make_preprocessor

_BUDGETS = [1 << step for step in range(11)]  # to 1,024 images
_PROBE_SIZE = (640, 480)
# Enough for a group's images to be under way together; each may hold a file of the largest size.
_FETCHES = 32


class ImageEngine(Engine[Pixels, Row]):
    """``image-classification`` with any ``AutoModelForImageClassification``.

    Attributes:
        budget: how many images a pass takes.

    Parameters:
        fetcher: where image references are read.
        max_pixels: the largest image that is decoded.
        threads: how many images are decoded at once; as many as there are cores if None.

    Raises:
        ModelLoadError: the checkpoint cannot be loaded.
    """

    def __init__(
        self, spec: ModelSpec, fetcher: ImageFetcher, max_pixels: int, threads: int | None = None
    ) -> None:
        super().__init__(spec)
        self._device = open_device(spec)
        self._model = checkpoint.load_model(
            AutoModelForImageClassification, spec, self._device.torch
        )
        refine_head(self._model)
        if spec.compile:
            self._model.compile(dynamic=True)  # one program for passes of all sizes
        processor = checkpoint.load_companion(AutoImageProcessor, spec)
        self._preprocessor = make_preprocessor(spec, processor, max_pixels, self._device.torch)
        self._decoder = LabelDecoder(self._model.config)
        self._fetcher = fetcher
        self.budget = PassBudget(self.group_size)
        self._cores = ThreadPoolExecutor(threads or _cores(), thread_name_prefix="decode")
        self._fetches = ThreadPoolExecutor(_FETCHES, thread_name_prefix="fetch")
        self.device = self._device.name
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
        if self._device.is_asynchronous:
            self.fill_passes(self.budget.size)

    def running(self) -> RunningModel:
        running = super().running()
        running["dtype"] = checkpoint.dtype_name(self._model)
        running["budget"] = f"{self.budget.size} images"
        return running

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

    def forward(self, inputs: Sequence[Pixels]) -> list[Row | JobError]:
        """Run in passes of one shape each.

        On CUDA the logits may still be under way: :meth:`wait` waits for them, so that the device
        has its next group by then.
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

    def wait(self, outputs: Sequence[Row]) -> None:
        transfer.wait(outputs)

    def decode(
        self, outputs: Sequence[Row], top_k: Sequence[int]
    ) -> list[list[LabelScore] | JobError]:
        """See :class:`~labelmill.engines.labels.LabelDecoder`."""
        return self._decoder.decode(transfer.gather(outputs), top_k)

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

    def _run_in_passes(self, inputs: Sequence[Pixels]) -> list[Row | JobError]:
        rows: list[Row | JobError] = []
        while len(rows) < len(inputs):
            images = inputs[len(rows) : len(rows) + self.budget.size]
            logits = within_memory(partial(self._run, images))
            if logits is not None:
                fetched = self._device.transfer.fetch(logits)
                rows += [Row(fetched, place) for place in range(len(images))]
            elif len(images) == 1:
                rows.append(out_of_memory())
            else:
                self.budget.shrink(len(images))
        return rows

    @torch.inference_mode()
    def _run(self, images: Sequence[Pixels]) -> torch.Tensor:
        batch = {name: self._send([image[name] for image in images]) for name in images[0]}
        finished = self._preprocessor.finish(batch)
        inputs = {name: self._cast(tensor) for name, tensor in finished.items()}
        return cast("torch.Tensor", self._model(**inputs).logits)

    def _send(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """One tensor of all on the device."""
        first = tensors[0]
        together = self._device.transfer.host([len(tensors), *first.shape], first.dtype)
        return self._device.transfer.send(torch.stack(list(tensors), out=together))

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
