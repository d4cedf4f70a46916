"""The peers of the engines: ``transformers.pipeline``, in the ways that people run it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import transformers

from labelmill.bench.errors import BenchmarkError
from labelmill.core.result import LabelScore

Answers = list[list[LabelScore]]

#: The batch size that people take.
BATCH = 32

#: How close a score has to be to the pipeline's, in single precision.
TOLERANCE = 1e-5


class TextPipeline:
    """``pipeline("text-classification")`` over a list of texts.

    Parameters:
        options: further arguments of ``pipeline``.
    """

    def __init__(self, checkpoint: str | Path, **options: Any) -> None:
        quiet()
        self.pipeline = transformers.pipeline(
            "text-classification", model=str(checkpoint), **options
        )

    def batched(self, texts: Sequence[str]) -> Answers:
        """In batches of 32, as they come."""
        return self._answers(texts, BATCH)

    def one_by_one(self, texts: Sequence[str]) -> Answers:
        """No batches, so no padding."""
        return self._answers(texts, 1)

    def sorted(self, texts: Sequence[str]) -> Answers:
        """In batches of 32 texts of like length: what those do who know of padding."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        answers: Answers = [[] for _ in texts]
        found = self._answers([texts[index] for index in order], BATCH)
        for index, answer in zip(order, found, strict=True):
            answers[index] = answer
        return answers

    def _answers(self, texts: Sequence[str], batch_size: int) -> Answers:
        found = self.pipeline(list(texts), batch_size=batch_size, truncation=True, top_k=None)
        return list(found)


class ImagePipeline:
    """``pipeline("image-classification")`` over image files."""

    def __init__(self, checkpoint: str | Path, **options: Any) -> None:
        quiet()
        self.pipeline = transformers.pipeline(
            "image-classification", model=str(checkpoint), **options
        )

    def batched(self, files: Sequence[Path], **options: Any) -> Answers:
        """In batches of 32."""
        labels = self.pipeline.model.config.num_labels
        found = self.pipeline(
            [str(file) for file in files], batch_size=BATCH, top_k=labels, **options
        )
        return list(found)


def quiet() -> None:
    """No progress bars and advice of transformers between the figures."""
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


def check_same(ours: Answers, theirs: Answers) -> None:
    """The same best label and the same scores, for each input.

    Labels whose scores are within the tolerance of each other may change places.

    Raises:
        BenchmarkError: an answer differs.
    """
    for index, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        expected = {each["label"]: each["score"] for each in their}
        apart = largest_difference([our], [their])
        best = their[0]["score"] - expected[our[0]["label"]]
        if apart > TOLERANCE or best > TOLERANCE:
            raise BenchmarkError(
                f"input {index} is answered differently: {our[0]} and {their[0]},"
                f" scores up to {apart:.1e} apart"
            )


def largest_difference(ours: Answers, theirs: Answers) -> float:
    """How far a score of ours is from theirs for the same label, at most."""
    return max(
        abs(each["score"] - expected[each["label"]])
        for our, their in zip(ours, theirs, strict=True)
        for expected in [{each["label"]: each["score"] for each in their}]
        for each in our
    )


def agreement(ours: Answers, theirs: Answers) -> float:
    """For how many inputs in a hundred the best label is the same."""
    same = sum(
        our[0]["label"] == their[0]["label"] for our, their in zip(ours, theirs, strict=True)
    )
    return 100 * same / len(ours)
