"""Labels: from logits to labels and scores, as ``transformers.pipeline`` does it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from transformers import PretrainedConfig

from labelmill.core.errors import ErrorCode, JobError, ModelLoadError
from labelmill.core.result import LabelScore

Logits = npt.NDArray[np.float32]


class LabelDecoder:
    """Applies a classifier's own activation and names its labels.

    The activation is chosen as ``TextClassificationPipeline.postprocess`` and
    ``ImageClassificationPipeline.postprocess`` (transformers 5) choose it: none for regression,
    a sigmoid for several labels at once or for a single one, else a softmax.

    Raises:
        ModelLoadError: the classifier's labels are not numbered from 0.
    """

    def __init__(self, config: PretrainedConfig) -> None:
        if set(config.id2label) != set(range(config.num_labels)):
            raise ModelLoadError(
                f"id2label of config.json has the ids {sorted(config.id2label)}; number them from 0"
            )
        self._labels = [str(config.id2label[i]) for i in range(config.num_labels)]
        if config.problem_type == "regression":
            self._activation = _identity
        elif config.problem_type == "multi_label_classification" or config.num_labels == 1:
            self._activation = _sigmoid
        else:
            self._activation = _softmax

    def decode(
        self, logits: Logits | Sequence[Logits], top_k: Sequence[int]
    ) -> list[list[LabelScore] | JobError]:
        """The best ``top_k[i]`` labels of ``logits[i]`` (shape ``[labels]``), the best first."""
        scores = self._activation(np.asarray(logits, np.float32))
        # Stable, so that equal scores keep the order of the labels, as a stable sort in Python.
        order = np.argsort(-scores, axis=-1, kind="stable")[:, : max(top_k)]
        ranked = np.take_along_axis(scores, order, axis=-1)
        finite = np.logical_and.reduce(np.isfinite(scores), axis=-1)
        return [
            self._best(ranks[:k], best) if is_finite else _non_finite()
            for ranks, best, is_finite, k in zip(
                order.tolist(), ranked.tolist(), finite.tolist(), top_k, strict=True
            )
        ]

    def _best(self, ranks: Sequence[int], scores: Sequence[float]) -> list[LabelScore]:
        return [
            {"label": self._labels[rank], "score": score}
            for rank, score in zip(ranks, scores, strict=False)
        ]


def _identity(logits: Logits) -> Logits:
    return logits


def _sigmoid(logits: Logits) -> Logits:
    with np.errstate(over="ignore"):  # exp(-logit) of a very negative logit: the score is 0
        scores: Logits = np.float32(1) / (np.float32(1) + np.exp(-logits))
    return scores


def _softmax(logits: Logits) -> Logits:
    with np.errstate(invalid="ignore"):  # infinite logits become NaN and are refused above
        exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scores: Logits = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return scores


def _non_finite() -> JobError:
    return JobError(
        ErrorCode.NON_FINITE,
        "the model gave NaN or infinite scores for this input; try dtype = 'float32'",
    )
