"""The text engine: tokenise a group in one call, run it in packs of like length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from db.errors import JobError
from db.tables import LabelScore
from producer.contract.catalog import ModelSpec
from producer.contract.job import Job
from worker.engines import checkpoint
from worker.engines.base import Engine
from worker.engines.labels import LabelDecoder, Logits
from worker.engines.packing import pack

Encoding = dict[str, list[int]]

# A tokenizer that knows no limit says so with a very large number.
_NO_LIMIT = 1_000_000
# These count positions from the padding token's id + 1, so the last ones do not exist.
_OFFSET_POSITIONS = {
    "camembert",
    "data2vec-text",
    "longformer",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}


class TextEngine(Engine[Encoding, Logits]):
    """``text-classification`` with any ``AutoModelForSequenceClassification``.

    Raises:
        ModelLoadError: the checkpoint cannot be loaded.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        device = checkpoint.choose_device(spec)
        self._tokenizer: PreTrainedTokenizerBase = checkpoint.load_companion(AutoTokenizer, spec)
        self._model = checkpoint.load_model(AutoModelForSequenceClassification, spec, device)
        self._decoder = LabelDecoder(self._model.config)
        self._max_length = _max_length(self._tokenizer, self._model.config)
        # Without a padding token sequences cannot share a pass.
        self._budget = spec.token_budget if self._tokenizer.pad_token_id is not None else 1
        self._options = {"use_cache": False} if hasattr(self._model.config, "use_cache") else {}
        self._torch_device = device
        self.device = str(device)
        self.revision = checkpoint.weights_revision(spec)

    def prepare(self, jobs: Sequence[Job]) -> list[Encoding | JobError]:
        """Tokenise, truncated to the model's length."""
        encoded = self._tokenizer(
            [_tokenizable(cast("str", job.text)) for job in jobs],
            truncation=self._max_length is not None,
            max_length=self._max_length,
        )
        names = list(encoded.keys())
        return [
            dict(zip(names, columns, strict=True))
            for columns in zip(*(encoded[name] for name in names), strict=True)
        ]

    def forward(self, inputs: Sequence[Encoding]) -> list[Logits | JobError]:
        """Run in packs under the token budget; logits have the shape ``[labels]`` each."""
        logits: list[Logits | JobError | None] = [None] * len(inputs)
        for indices in pack([len(item["input_ids"]) for item in inputs], self._budget):
            for index, row in zip(indices, self._run([inputs[i] for i in indices]), strict=True):
                logits[index] = row
        return cast("list[Logits | JobError]", logits)

    def decode(
        self, outputs: Sequence[Logits], top_k: Sequence[int]
    ) -> list[list[LabelScore] | JobError]:
        """See :class:`~worker.engines.labels.LabelDecoder`."""
        return self._decoder.decode(outputs, top_k)

    def _run(self, inputs: Sequence[Encoding]) -> Logits:
        if len(inputs) == 1:
            batch = {name: torch.tensor([ids]) for name, ids in inputs[0].items()}
        else:
            batch = dict(self._tokenizer.pad(list(inputs), padding=True, return_tensors="pt"))
        with torch.inference_mode():
            on_device = {name: tensor.to(self._torch_device) for name, tensor in batch.items()}
            logits = self._model(**on_device, **self._options).logits
            return cast("Logits", logits.float().cpu().numpy())


def _tokenizable(text: str) -> str:
    """Lone surrogates, which JSON can carry but UTF-8 cannot, become replacement characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _max_length(tokenizer: PreTrainedTokenizerBase, config: object) -> int | None:
    limits = []
    if tokenizer.model_max_length < _NO_LIMIT:
        limits.append(tokenizer.model_max_length)
    positions = getattr(config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        if getattr(config, "model_type", "") in _OFFSET_POSITIONS:
            positions -= getattr(config, "pad_token_id", 1) + 1
        limits.append(positions)
    return min(limits) if limits else None
