"""The peer's part of :mod:`.ray_data`: actors that classify batches of image files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Batch = dict[str, npt.NDArray[Any]]


class Preprocessor:
    """Reads files and makes the tensors that the model takes, with the checkpoint's processor."""

    def __init__(self, checkpoint: str) -> None:
        from transformers import AutoImageProcessor

        self._processor: Any = AutoImageProcessor.from_pretrained(checkpoint)

    def __call__(self, batch: Batch) -> Batch:
        """Adds ``pixels``, of the shape ``[batch, 3, height, width]``."""
        import PIL.Image

        images = [PIL.Image.open(file).convert("RGB") for file in batch["file"]]
        inputs = self._processor(images=images, return_tensors="pt")
        return {"file": batch["file"], "pixels": inputs["pixel_values"].numpy()}


class Model:
    """Runs the model over a batch of tensors.

    Parameters:
        threads: of torch; without it Ray's actors have one.
    """

    def __init__(self, checkpoint: str, threads: int) -> None:
        import torch
        from transformers import AutoModelForImageClassification

        torch.set_num_threads(threads)
        self._model = AutoModelForImageClassification.from_pretrained(checkpoint).eval()

    def __call__(self, batch: Batch) -> Batch:
        """Labels and scores, and when they were ready by the clock on the wall."""
        import torch

        with torch.inference_mode():
            # Ray's arrays cannot be written to, of which torch warns.
            pixels = torch.from_numpy(batch["pixels"].copy())
            best = self._model(pixel_values=pixels).logits.softmax(-1).max(-1)
        labels = [self._model.config.id2label[index] for index in best.indices.tolist()]
        return {
            "file": batch["file"],
            "label": np.array(labels),
            "score": best.values.numpy(),
            "finished": np.full(len(labels), time.time()),
        }


class Classifier:
    """Both steps, one after the other in one actor."""

    def __init__(self, checkpoint: str, threads: int) -> None:
        self._preprocess = Preprocessor(checkpoint)
        self._run = Model(checkpoint, threads)

    def __call__(self, batch: Batch) -> Batch:
        """From files to labels and scores."""
        return self._run(self._preprocess(batch))


def steady_rate(
    files: list[Path], checkpoint: Path, batch: int, threads: int, *, split: bool
) -> float:
    """Images a second, from the end of the first batch to the end of the last.

    So neither the start of Ray, nor of an actor, nor its first and slowest batch is counted.

    Parameters:
        split: whether preprocessing has an actor of its own, beside the model's.
    """
    import ray

    one: dict[str, Any] = {
        "batch_size": batch,
        "compute": ray.data.ActorPoolStrategy(size=1),
    }
    dataset = ray.data.from_items([{"file": str(file)} for file in files])
    where = str(checkpoint)
    if split:
        prepared = dataset.map_batches(Preprocessor, fn_constructor_args=(where,), **one)
        labelled = prepared.map_batches(Model, fn_constructor_args=(where, threads), **one)
    else:
        labelled = dataset.map_batches(Classifier, fn_constructor_args=(where, threads), **one)
    ends = sorted(row["finished"] for row in labelled.take_all())
    first = ends.count(ends[0])
    return float((len(ends) - first) / (ends[-1] - ends[0]))
