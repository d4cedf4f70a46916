"""Answers: what the engines say of a group of jobs, and what ``transformers.pipeline`` says."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import torch
import transformers

from labelmill.core.catalog import ModelSpec
from labelmill.core.errors import JobError
from labelmill.core.job import Job, parse_job
from labelmill.core.result import LabelScore
from labelmill.engines import Engine
from labelmill.engines.image import ImageEngine
from labelmill.engines.text import TextEngine
from labelmill.images.fetch import ImageFetcher

#: How close a score has to be to the pipeline's, in single precision.
TOLERANCE = 1e-5

#: More labels than any tiny checkpoint has.
ALL = 1000

Answer = list[LabelScore]

torch.set_num_threads(1)  # tiny models lose by sharing
transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()


def spec(task: str, folder: Path, **limits: Any) -> ModelSpec:
    """The entry of a local checkpoint, as ``models.toml`` would have it."""
    table = {"task": task, "checkpoint": str(folder), "device": "cpu", **limits}
    return ModelSpec.model_validate(table)


def text_engine(folder: Path, **limits: Any) -> TextEngine:
    """An engine of a text checkpoint, on the CPU."""
    return TextEngine(spec("text-classification", folder, **limits))


def image_engine(folder: Path, root: Path | None = None, **limits: Any) -> ImageEngine:
    """An engine of an image checkpoint, on the CPU, that reads local images under ``root``."""
    fetcher = ImageFetcher(root, (), max_bytes=1_000_000)
    return ImageEngine(
        spec("image-classification", folder, **limits), fetcher, max_pixels=1_000_000
    )


def text_jobs(texts: Sequence[str]) -> list[Job]:
    """One job for each text, read as a worker reads it."""
    return [parse_job({"text": text}) for text in texts]


def answers(engine: Engine[Any, Any], jobs: Sequence[Job], top_k: int = ALL) -> list[Answer]:
    """What an engine says of one group of jobs, all of which have to succeed."""
    inputs = engine.prepare(jobs)
    assert not [each for each in inputs if isinstance(each, JobError)]
    outputs = engine.forward(inputs)
    assert not [each for each in outputs if isinstance(each, JobError)]
    decoded = engine.decode(outputs, [top_k] * len(jobs))
    return [each for each in decoded if not isinstance(each, JobError)]


def text_pipeline(folder: Path) -> Any:
    """The pipeline on the same checkpoint; it takes one text at a time."""
    return transformers.pipeline("text-classification", model=str(folder), device="cpu")


#: How a pipeline is asked for all that an engine gives, for many texts.
PIPELINE_OPTIONS: dict[str, Any] = {"top_k": None, "truncation": True}


def half_pipeline(folder: Path, device: str, dtype: str) -> Any:
    """The pipeline in a precision."""
    return transformers.pipeline(
        "text-classification", model=str(folder), device=device, dtype=getattr(torch, dtype)
    )


def scores(given: Sequence[Answer]) -> npt.NDArray[np.float32]:
    """The scores of each job, in the order of the labels' names; shape ``[jobs, labels]``."""
    by_label = [{each["label"]: each["score"] for each in answer} for answer in given]
    return np.array([[answer[label] for label in sorted(answer)] for answer in by_label], "f4")


def root_mean_square(error: npt.NDArray[np.float32]) -> float:
    """How large an error is, all in all."""
    return float(np.sqrt(np.mean(np.square(error))))


def image_pipeline(folder: Path) -> Any:
    """The pipeline on the same checkpoint; it takes one image at a time."""
    return transformers.pipeline("image-classification", model=str(folder), device="cpu")


def opened(content: bytes) -> PIL.Image.Image:
    """The bytes of a file as the image that a pipeline takes.

    Grey of sixteen bits is scaled to eight: the pipeline would make nearly all of it white.
    """
    image = PIL.Image.open(io.BytesIO(content))
    if image.mode.startswith("I;16"):
        return PIL.Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8))
    return image


def assert_same(ours: Sequence[Answer], theirs: Sequence[Any]) -> None:
    """The same labels in the same order, with the same scores."""
    assert len(ours) == len(theirs)
    for index, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        labels = [each["label"] for each in their]
        assert [each["label"] for each in our] == labels, f"labels of job {index}"
        scores = [each["score"] for each in their]
        assert [each["score"] for each in our] == pytest.approx(scores, abs=TOLERANCE), (
            f"scores of job {index}"
        )


def assert_varied(given: Sequence[Answer]) -> None:
    """The scores differ clearly, so that equal answers mean something."""
    best = {round(each[0]["score"], 3) for each in given}
    assert len(best) > len(given) / 2
