"""The text engine: tokenise a group in one call, run it in packs without padding."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import cycle
from typing import cast

import torch
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from labelmill.core.catalog import ModelSpec
from labelmill.core.errors import ErrorCode, JobError
from labelmill.core.job import Job
from labelmill.core.result import LabelScore
from labelmill.core.scatter import scatter
from labelmill.engines import checkpoint
from labelmill.engines.arrange import PROBES, ForwardPass, arrange
from labelmill.engines.base import Engine
from labelmill.engines.bisect import run_bisecting
from labelmill.engines.budget import BudgetFile, PassBudget, best_of_three, calibrate
from labelmill.engines.labels import LabelDecoder
from labelmill.engines.packing import Layout, pack
from labelmill.engines.padded import PaddedModel
from labelmill.engines.tokens import BatchTokenizer, Encoding
from labelmill.engines.transfer import Upload, download

logger = logging.getLogger(__name__)

# A tokenizer that knows no limit says so with a very large number.
_NO_LIMIT = 1_000_000
_DEFAULT_BUDGET = 4096
_BUDGETS = [256 << step for step in range(10)]  # to 131,072 tokens
_SPECIAL_TOKENS = 16  # of a probe; some tokenizers have hundreds
# Lengths, in tokens, of the texts that a budget is measured with.
_SAMPLE_LENGTHS = [100, 70, 50, 35, 20]


class TextEngine(Engine[Encoding, torch.Tensor]):
    """``text-classification`` with any ``AutoModelForSequenceClassification``.

    Attributes:
        layout: how texts share a pass.
        budget: how many tokens a pass takes, padding included.

    Raises:
        ModelLoadError: the checkpoint cannot be loaded.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        device = checkpoint.choose_device(spec)
        self._model = checkpoint.load_model(AutoModelForSequenceClassification, spec, device)
        if spec.compile:
            self._model.compile(dynamic=True)  # one program for passes of all sizes
        self._tokenizer = checkpoint.load_tokenizer(spec)
        max_length = _max_length(self._tokenizer, self._model)
        self._tokenize = BatchTokenizer(self._tokenizer, max_length)
        self._decoder = LabelDecoder(self._model.config)
        self.device = str(device)
        self.revision = checkpoint.weights_revision(spec)
        self.budget = PassBudget(spec.token_budget or _DEFAULT_BUDGET)
        special = " ".join(map(str, self._tokenizer.all_special_tokens[:_SPECIAL_TOKENS]))
        probes = self._tokenize([*PROBES, f"a {special} b c"])
        self._sample = max(probes, key=lambda probe: len(probe["input_ids"]))
        upload = Upload(device)
        arrangement = arrange(
            self._model,
            PaddedModel(self._model, self._tokenizer, upload),
            upload,
            probes,
            first_position=_first_position(self._model),
            max_length=max_length,
            # A pack's attention is a loop, which a compiler takes apart. On CUDA packs are run by
            # varlen_attn, which takes half precision only.
            may_pack=not spec.compile
            and (device.type != "cuda" or self._model.dtype != torch.float32),
        )
        self.layout = arrangement.layout
        self._run: ForwardPass = arrangement.run  # a PackedModel, or a PaddedModel
        logger.info("%s runs texts %s", spec.checkpoint, self.layout.value)

    def calibrate(self, remembered: BudgetFile) -> None:
        """Set the budget to what was the fastest on this device, now or when it was remembered."""
        if self.layout is Layout.ALONE:
            return
        key = f"{checkpoint.weights_key(self.revision, self._model)}, {self.layout.name.lower()}"
        self.budget = remembered.budget(key, lambda: calibrate(self._seconds, _BUDGETS))

    def prepare(self, jobs: Sequence[Job]) -> list[Encoding | JobError]:
        """Tokenise, truncated to the model's length."""
        encodings = self._tokenize([cast("str", job.text) for job in jobs])
        return [each if each["input_ids"] else _no_tokens() for each in encodings]

    def forward(self, inputs: Sequence[Encoding]) -> list[torch.Tensor | JobError]:
        """Run in packs under the token budget; logits have the shape ``[labels]`` each.

        On CUDA they may still be under way: :meth:`decode` waits for them, so that the device has
        its next group by then.
        """
        lengths = [len(item["input_ids"]) for item in inputs]
        return scatter(
            len(inputs),
            (
                (indices, run_bisecting(self._run_pack, [inputs[index] for index in indices]))
                for indices in pack(lengths, self.budget.size, self.layout)
            ),
        )

    def decode(
        self, outputs: Sequence[torch.Tensor], top_k: Sequence[int]
    ) -> list[list[LabelScore] | JobError]:
        """See :class:`~labelmill.engines.labels.LabelDecoder`."""
        return self._decoder.decode(download(outputs), top_k)

    def _run_pack(self, texts: Sequence[Encoding]) -> list[torch.Tensor | JobError]:
        try:
            return list(self._run(texts))
        except torch.OutOfMemoryError:
            if len(texts) == 1:
                raise
        # Outside of the handler, where the error keeps nothing in memory any more.
        torch.cuda.empty_cache()
        self.budget.shrink(_tokens(texts, self.layout))
        return self.forward(texts)

    def _seconds(self, tokens: int) -> float:
        """How long a pass over texts with that many tokens takes."""
        lengths = _SAMPLE_LENGTHS[:1] if self.layout is Layout.EQUAL else _SAMPLE_LENGTHS
        texts: list[Encoding] = []
        for length in cycle(lengths):
            texts.append({name: values[:length] for name, values in self._sample.items()})
            if _tokens(texts, self.layout) >= tokens:
                break
        texts.sort(key=lambda text: len(text["input_ids"]), reverse=True)
        return best_of_three(lambda: self._run(texts).cpu())  # which waits for the device


def _tokens(texts: Sequence[Encoding], layout: Layout) -> int:
    """How much of a budget one pass over the texts takes."""
    lengths = [len(text["input_ids"]) for text in texts]
    return sum(lengths) if layout is Layout.PACKED else max(lengths) * len(lengths)


def _no_tokens() -> JobError:
    return JobError(ErrorCode.INVALID_JOB, "the model reads nothing in this text; send words")


def _max_length(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> int | None:
    limits = []
    if tokenizer.model_max_length < _NO_LIMIT:
        limits.append(tokenizer.model_max_length)
    positions = getattr(model.config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        limits.append(positions - _first_position(model))
    return min(limits) if limits else None


def _first_position(model: PreTrainedModel) -> int:
    """A text's first position; models like RoBERTa count from behind padding."""
    for name, module in model.named_modules():
        padding = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and padding is not None:
            return int(padding) + 1
    return 0
