"""The peer's part of :mod:`bench.ray_data`: an actor that classifies batches of image files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Batch = dict[str, npt.NDArray[Any]]


class Classifier:
    """Decodes, preprocesses and runs a batch: what Ray's own guides to batch inference do.

    Parameters:
        threads: of torch; without it Ray's actors have one.
    """

    def __init__(self, checkpoint: str, threads: int) -> None:
        import torch
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        torch.set_num_threads(threads)
        self._processor: Any = AutoImageProcessor.from_pretrained(checkpoint)
        self._model = AutoModelForImageClassification.from_pretrained(checkpoint).eval()

    def __call__(self, batch: Batch) -> Batch:
        """Labels and scores, and by the clock on the wall when they were ready."""
        import PIL.Image
        import torch

        images = [PIL.Image.open(file).convert("RGB") for file in batch["file"]]
        with torch.inference_mode():
            inputs = self._processor(images=images, return_tensors="pt")
            scores = self._model(**inputs).logits.softmax(-1)
        best = scores.max(-1)
        labels = [self._model.config.id2label[index] for index in best.indices.tolist()]
        return {
            "file": batch["file"],
            "label": np.array(labels),
            "score": best.values.numpy(),
            "finished": np.full(len(images), time.time()),
        }


def steady_rate(files: list[Path], checkpoint: Path, batch: int, threads: int) -> float:
    """Images a second of one actor, from the end of its first batch to the end of its last.

    So neither the start of Ray, nor of the actor, nor its first and slowest batch is counted.
    """
    import ray

    dataset = ray.data.from_items([{"file": str(file)} for file in files])
    labelled = dataset.map_batches(
        Classifier,
        fn_constructor_args=(str(checkpoint), threads),
        batch_size=batch,
        compute=ray.data.ActorPoolStrategy(size=1),
    )
    ends = sorted(row["finished"] for row in labelled.take_all())
    first = ends.count(ends[0])
    return float((len(ends) - first) / (ends[-1] - ends[0]))
