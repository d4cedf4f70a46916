"""The text engine: tokenise a group in one call, run it in packs without padding."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import cycle
from typing import cast

from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from labelmill.core.catalog import ModelSpec
from labelmill.core.errors import ErrorCode, JobError
from labelmill.core.job import Job
from labelmill.core.result import LabelScore
from labelmill.core.running import RunningModel
from labelmill.core.scatter import scatter
from labelmill.engines import checkpoint, transfer
from labelmill.engines.arrange import PROBES, Arrangement, ForwardPass, arrange, candidates
from labelmill.engines.base import Engine
from labelmill.engines.bisect import run_bisecting
from labelmill.engines.budget import BudgetFile, PassBudget, best_of_three, calibrate
from labelmill.engines.device import open_device
from labelmill.engines.labels import LabelDecoder
from labelmill.engines.memory import within_memory
from labelmill.engines.packed import PackedModel, Pooling
from labelmill.engines.packing import Layout, pack
from labelmill.engines.padded import PaddedModel
from labelmill.engines.precision import refine_head
from labelmill.engines.tokens import BatchTokenizer, Encoding
from labelmill.engines.transfer import Row

logger = logging.getLogger(__name__)

# A tokenizer that knows no limit says so with a very large number.
_NO_LIMIT = 1_000_000
_DEFAULT_BUDGET = 4096
_BUDGETS = [256 << step for step in range(10)]  # to 131,072 tokens
_SPECIAL_TOKENS = 16  # of a probe; some tokenizers have hundreds
# Lengths, in tokens, of the texts that a budget is measured with.
_SAMPLE_LENGTHS = [100, 70, 50, 35, 20]
_USUAL_LENGTH = 50  # in tokens: that many texts are to fill a pass


class TextEngine(Engine[Encoding, Row]):
    """``text-classification`` with any ``AutoModelForSequenceClassification``.

    Attributes:
        layout: how texts share a pass.
        budget: how many tokens a pass takes, padding included.
        refused: why faster layouts were refused, a line each.

    Raises:
        ModelLoadError: the checkpoint cannot be loaded.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self._device = open_device(spec)
        self._model = checkpoint.load_model(
            AutoModelForSequenceClassification, spec, self._device.torch
        )
        refine_head(self._model)
        self._tokenizer = checkpoint.load_tokenizer(spec)
        self._max_length = _max_length(self._tokenizer, self._model)
        self._tokenize = BatchTokenizer(self._tokenizer, self._max_length)
        self._decoder = LabelDecoder(self._model.config)
        self.device = self._device.name
        self.revision = checkpoint.weights_revision(spec)
        self.budget = PassBudget(spec.token_budget or _DEFAULT_BUDGET)
        special = " ".join(map(str, self._tokenizer.all_special_tokens[:_SPECIAL_TOKENS]))
        probes = self._tokenize([*PROBES, f"a {special} b c"])
        self._sample = max(probes, key=_length)
        arrangement = self._arrange(probes)
        self.layout = arrangement.layout
        self._run: ForwardPass = arrangement.run  # a PackedModel, or a PaddedModel
        self.refused = [
            f"{layout.name.lower()} ({layout.value}): {why}"
            for layout, why in arrangement.refused.items()
        ]
        for line in self.refused:
            logger.warning(
                "%s: texts cannot be run %s; they run %s", spec.checkpoint, line, self.layout.value
            )
        self._choose_group_size()

    def calibrate(self, remembered: BudgetFile) -> None:
        """Set the budget to what was the fastest on this device, now or when it was remembered."""
        if self.layout is Layout.ALONE:
            return
        key = f"{checkpoint.weights_key(self.revision, self._model)}, {self.layout.name.lower()}"
        self.budget = remembered.budget(key, lambda: calibrate(self._seconds, _BUDGETS))
        self._choose_group_size()

    def running(self) -> RunningModel:
        running = super().running()
        running["dtype"] = checkpoint.dtype_name(self._model)
        running["layout"] = self.layout.name.lower()
        running["budget"] = f"{self.budget.size} tokens"
        return running

    def prepare(self, jobs: Sequence[Job]) -> list[Encoding | JobError]:
        """Tokenise, truncated to the model's length."""
        encodings = self._tokenize([cast("str", job.text) for job in jobs])
        return [each if _length(each) else _no_tokens() for each in encodings]

    def forward(self, inputs: Sequence[Encoding]) -> list[Row | JobError]:
        """Run in packs under the token budget.

        On CUDA the logits may still be under way: :meth:`wait` waits for them, so that the device
        has its next group by then.
        """
        return scatter(
            len(inputs),
            (
                (indices, run_bisecting(self._run_pack, [inputs[index] for index in indices]))
                for indices in pack([*map(_length, inputs)], self.budget.size, self.layout)
            ),
        )

    def wait(self, outputs: Sequence[Row]) -> None:
        transfer.wait(outputs)

    def decode(
        self, outputs: Sequence[Row], top_k: Sequence[int]
    ) -> list[list[LabelScore] | JobError]:
        """See :class:`~labelmill.engines.labels.LabelDecoder`."""
        return self._decoder.decode(transfer.gather(outputs), top_k)

    def _arrange(self, probes: Sequence[Encoding]) -> Arrangement:
        tried = candidates(self._model, self._padded, self._packed, probes)
        arrangement = arrange(tried, self._max_length)
        if self.spec.compile:
            arrangement.run.compile()
            if (refusal := tried[-1].fault(arrangement.run, arrangement.layout)) is not None:
                logger.warning(
                    "%s cannot be compiled: %s; it runs as it is",
                    self.spec.checkpoint,
                    refusal.why,
                )
                arrangement.run.uncompile()
        return arrangement

    def _padded(self, model: PreTrainedModel) -> PaddedModel:
        inputs, transfer = self._tokenize.inputs, self._device.transfer
        return PaddedModel(model, self._tokenizer, inputs, transfer)

    def _packed(self, model: PreTrainedModel, pooling: Pooling) -> PackedModel:
        is_own = model is self._model
        return PackedModel(
            model,
            pooling,
            inputs=self._tokenize.inputs,
            first_position=_first_position(model),
            transfer=self._device.transfer,
            kernel=self._device.packing_kernel(model.dtype) if is_own else None,
        )

    def _choose_group_size(self) -> None:
        if self._device.is_asynchronous:
            self.fill_passes(self.budget.size // _USUAL_LENGTH)

    def _run_pack(self, texts: Sequence[Encoding]) -> list[Row | JobError]:
        if len(texts) == 1:
            return self._rows(texts)
        rows = within_memory(lambda: self._rows(texts))
        if rows is None:
            self.budget.shrink(_tokens(texts, self.layout))
            return self.forward(texts)
        return rows

    def _rows(self, texts: Sequence[Encoding]) -> list[Row | JobError]:
        fetched = self._device.transfer.fetch(self._run(texts))
        return [Row(fetched, place) for place in range(len(texts))]

    def _seconds(self, tokens: int) -> float:
        """How long a pass over texts with that many tokens takes."""
        lengths = _SAMPLE_LENGTHS[:1] if self.layout is Layout.EQUAL else _SAMPLE_LENGTHS
        texts: list[Encoding] = []
        for length in cycle(lengths):
            texts.append(self._sample[:, :length])
            if _tokens(texts, self.layout) >= tokens:
                break
        texts.sort(key=_length, reverse=True)
        return best_of_three(lambda: self._run(texts).cpu())  # which waits for the device


def _length(text: Encoding) -> int:
    return int(text.shape[1])


def _tokens(texts: Sequence[Encoding], layout: Layout) -> int:
    """How much of a budget one pass over the texts takes."""
    lengths = [*map(_length, texts)]
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
