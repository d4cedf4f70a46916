"""The text engine: tokenise a group in one call, run it in packs of like length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from celery.utils.log import get_logger
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from db.errors import ErrorCode, JobError, ModelLoadError
from db.tables import LabelScore
from producer.contract.catalog import ModelSpec
from producer.contract.job import Job
from worker.engines import checkpoint
from worker.engines.base import Engine
from worker.engines.labels import LabelDecoder, Logits
from worker.engines.packing import pack

logger = get_logger(__name__)

Encoding = dict[str, list[int]]

# A tokenizer that knows no limit says so with a very large number.
_NO_LIMIT = 1_000_000
# Of different lengths in any tokenizer.
_PROBES = ["a", "b c d e f g h.", "i j k l m n o p q r s t u v w x y z, 0 1 2 3 4 5 6 7 8 9."]


class TextEngine(Engine[Encoding, Logits]):
    """``text-classification`` with any ``AutoModelForSequenceClassification``.

    Raises:
        ModelLoadError: the checkpoint cannot be loaded.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        device = checkpoint.choose_device(spec)
        self._model = checkpoint.load_model(AutoModelForSequenceClassification, spec, device)
        self._tokenizer = checkpoint.load_tokenizer(spec)
        self._decoder = LabelDecoder(self._model.config)
        self._max_length = _max_length(self._tokenizer, self._model)
        self._options = {"use_cache": False} if hasattr(self._model.config, "use_cache") else {}
        self._torch_device = device
        self.device = str(device)
        self.revision = checkpoint.weights_revision(spec)
        probes = cast("list[Encoding]", self.prepare([Job(text=text) for text in _PROBES]))
        self._padded = self._can_share(probes)
        shared = self._padded or self._can_share(probes[-1:] * 2)
        self._budget = spec.token_budget if shared else 1
        if not self._padded:
            logger.warning(
                "%s answers differently beside padding; %s",
                spec.checkpoint,
                "only texts of one length share a pass" if shared else "each text runs alone",
            )

    def prepare(self, jobs: Sequence[Job]) -> list[Encoding | JobError]:
        """Tokenise, truncated to the model's length."""
        encoded = self._tokenizer(
            [_tokenizable(cast("str", job.text)) for job in jobs],
            truncation=self._max_length is not None,
            max_length=self._max_length,
        )
        names = list(encoded.keys())
        return [
            dict(zip(names, columns, strict=True)) if columns[0] else _no_tokens()
            for columns in zip(*(encoded[name] for name in names), strict=True)
        ]

    def forward(self, inputs: Sequence[Encoding]) -> list[Logits | JobError]:
        """Run in packs under the token budget; logits have the shape ``[labels]`` each."""
        logits: list[Logits | JobError | None] = [None] * len(inputs)
        lengths = [len(item["input_ids"]) for item in inputs]
        for indices in pack(lengths, self._budget, padded=self._padded):
            for index, row in zip(indices, self._run([inputs[i] for i in indices]), strict=True):
                logits[index] = row
        return cast("list[Logits | JobError]", logits)

    def decode(
        self, outputs: Sequence[Logits], top_k: Sequence[int]
    ) -> list[list[LabelScore] | JobError]:
        """See :class:`~worker.engines.labels.LabelDecoder`."""
        return self._decoder.decode(outputs, top_k)

    def _can_share(self, inputs: Sequence[Encoding]) -> bool:
        """Whether the model answers for these in one pass as it does for each in its own.

        Some do not: those that mix what stands behind a text's end into it, and those whose
        padding token or side is not their tokenizer's.
        """
        try:
            alone = np.concatenate([self._run([each]) for each in inputs])
        except Exception as error:
            raise ModelLoadError(
                f"{self.spec.checkpoint} cannot run on {self.device} as {self._model.dtype} "
                f"({type(error).__name__}); try dtype = 'float32'"
            ) from error
        try:
            together = self._run(inputs)
        except Exception:
            return False
        tolerance = 1e-4 if self._model.dtype == torch.float32 else 5e-2
        return bool(np.abs(together - alone).max() <= tolerance * max(1, np.abs(alone).max()))

    def _run(self, inputs: Sequence[Encoding]) -> Logits:
        if len({len(item["input_ids"]) for item in inputs}) == 1:
            batch = {name: torch.tensor([item[name] for item in inputs]) for name in inputs[0]}
        else:
            batch = dict(self._tokenizer.pad(list(inputs), padding=True, return_tensors="pt"))
        with torch.inference_mode():
            on_device = {name: tensor.to(self._torch_device) for name, tensor in batch.items()}
            logits = self._model(**on_device, **self._options).logits
            return cast("Logits", logits.float().cpu().numpy())


def _no_tokens() -> JobError:
    return JobError(ErrorCode.INVALID_JOB, "the model reads nothing in this text; send words")


def _tokenizable(text: str) -> str:
    """Lone surrogates, which JSON can carry but UTF-8 cannot, become replacement characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _max_length(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> int | None:
    limits = []
    if tokenizer.model_max_length < _NO_LIMIT:
        limits.append(tokenizer.model_max_length)
    positions = getattr(model.config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        limits.append(positions - _unused_positions(model))
    return min(limits) if limits else None


def _unused_positions(model: PreTrainedModel) -> int:
    """How many positions come before the first; models like RoBERTa count from behind padding."""
    for name, module in model.named_modules():
        padding = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and padding is not None:
            return int(padding) + 1
    return 0
