"""The text engine: tokenise a group in one call, run it in packs without padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import cast

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
from worker.engines.budget import BudgetFile, PassBudget, best_of_three, calibrate
from worker.engines.labels import LabelDecoder
from worker.engines.packed import pack_model
from worker.engines.packing import Layout, pack
from worker.engines.tokens import BatchTokenizer, Encoding
from worker.engines.transfer import Upload
from worker.stages.isolate import isolate

logger = get_logger(__name__)

# A tokenizer that knows no limit says so with a very large number.
_NO_LIMIT = 1_000_000
# Of different lengths in any tokenizer; one is long, so that a model whose tokens look no further
# than a window is seen to do so.
_WORDS = "a b c d e f g h i j k l m n o p q r s t u v w x y z, 0 1 2 3 4 5 6 7 8 9. "
_PROBES = ["a", "b c d e f g h.", _WORDS, _WORDS * 8]
_DEFAULT_BUDGET = 4096
_BUDGETS = [256 << step for step in range(10)]  # to 131,072 tokens
_SPECIAL_TOKENS = 16  # of a probe; some tokenizers have hundreds
# Lengths, in tokens, of the texts that a budget is measured with.
_SAMPLE_LENGTHS = [100, 70, 50, 35, 20]


class TextEngine(Engine[Encoding, torch.Tensor]):
    """``text-classification`` with any ``AutoModelForSequenceClassification``.

    Attributes:
        layout: how texts share a pass; the first of them with which the model gives the answers
            that it gives to each text alone.
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
        self._max_length = _max_length(self._tokenizer, self._model)
        self._tokenize = BatchTokenizer(self._tokenizer, self._max_length)
        self._decoder = LabelDecoder(self._model.config)
        self._options = {"use_cache": False} if hasattr(self._model.config, "use_cache") else {}
        self._upload = Upload(device)
        self.device = str(device)
        self.revision = checkpoint.weights_revision(spec)
        self.budget = PassBudget(spec.token_budget or _DEFAULT_BUDGET)
        self._run: Callable[[Sequence[Encoding]], torch.Tensor] = self._run_padded
        probes = self._probes()
        self._sample = max(probes, key=lambda probe: len(probe["input_ids"]))
        self.layout = self._choose_layout(probes)
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
        logits: list[torch.Tensor | JobError | None] = [None] * len(inputs)
        lengths = [len(item["input_ids"]) for item in inputs]
        for indices in pack(lengths, self.budget.size, self.layout):
            rows = isolate(self._run_pack, [inputs[i] for i in indices])
            for index, row in zip(indices, rows, strict=True):
                logits[index] = row
        return cast("list[torch.Tensor | JobError]", logits)

    def decode(
        self, outputs: Sequence[torch.Tensor], top_k: Sequence[int]
    ) -> list[list[LabelScore] | JobError]:
        """See :class:`~worker.engines.labels.LabelDecoder`."""
        return self._decoder.decode(list(torch.stack(list(outputs)).float().cpu().numpy()), top_k)

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

    def _probes(self) -> list[Encoding]:
        """Texts of several lengths, one of them with special tokens within, that the model reads.

        Raises:
            ModelLoadError: it reads none of them.
        """
        special = " ".join(map(str, self._tokenizer.all_special_tokens[:_SPECIAL_TOKENS]))
        probes = []
        failure = "no tokens"
        for each in self._tokenize([*_PROBES, f"a {special} b c"]):
            if not each["input_ids"]:
                continue
            try:
                self._run_padded([each])
            except Exception as error:  # some models refuse what is very short
                failure = type(error).__name__
            else:
                probes.append(each)
        if not probes:
            advice = "" if self._model.dtype == torch.float32 else "; try dtype = 'float32'"
            raise ModelLoadError(
                f"{self.spec.checkpoint} cannot run on {self.device} as {self._model.dtype} "
                f"({failure}){advice}"
            )
        return probes

    def _choose_layout(self, probes: Sequence[Encoding]) -> Layout:
        alone = torch.cat([self._run_padded([each]) for each in probes])
        twice = self._run_padded([self._sample])[[0, 0]]
        if not _depends_on_the_longest(self._model, self._max_length):
            if self._can_pack(probes, alone):
                return Layout.PACKED
            if self._answers(self._run_padded, probes, alone):
                return Layout.PADDED
        if self._answers(self._run_padded, [self._sample] * 2, twice):
            return Layout.EQUAL
        return Layout.ALONE

    def _can_pack(self, probes: Sequence[Encoding], alone: torch.Tensor) -> bool:
        model = self._model
        if self.spec.compile:
            return False  # a pack's attention is a loop, which a compiler takes apart
        if model.device.type == "cuda" and model.dtype == torch.float32:
            return False  # varlen_attn takes half precision only; a launch a text is slower
        window = getattr(model.config.get_text_config(), "sliding_window", None)
        seen = len(self._sample["input_ids"])
        if window is not None and seen <= window < (self._max_length or _NO_LIMIT):
            return False  # some models keep it in their mask alone, and no probe would show that
        packed = pack_model(
            model,
            _first_position(model),
            self._upload,
            lambda packed: self._answers(packed, probes, alone),
        )
        if packed is None:
            return False
        self._run = torch.inference_mode()(packed)
        return True

    def _answers(
        self,
        run: Callable[[Sequence[Encoding]], torch.Tensor],
        probes: Sequence[Encoding],
        expected: torch.Tensor,
    ) -> bool:
        """Whether a pass over the probes gives the expected logits (shape ``[probes, labels]``)."""
        try:
            with torch.inference_mode():
                logits = run(probes)
        except Exception:
            return False
        # Of float32 the promise: a score's error is at most a quarter of its logit's.
        tolerance = 4e-5 if self._model.dtype == torch.float32 else 5e-2
        if logits.shape != expected.shape:
            return False
        error = (logits - expected).abs().max()
        return bool(error <= tolerance * expected.abs().max().clamp(min=1))

    @torch.inference_mode()
    def _run_padded(self, inputs: Sequence[Encoding]) -> torch.Tensor:
        if len({len(item["input_ids"]) for item in inputs}) == 1:
            batch = {name: torch.tensor([item[name] for item in inputs]) for name in inputs[0]}
        else:
            batch = dict(self._tokenizer.pad(list(inputs), padding=True, return_tensors="pt"))
        on_device = {name: self._upload(tensor) for name, tensor in batch.items()}
        return cast("torch.Tensor", self._model(**on_device, **self._options).logits)

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


def _depends_on_the_longest(model: PreTrainedModel, max_length: int | None) -> bool:
    """Whether a text's scores depend on the longest text of its pass.

    So it is with ``longrope``: past a length, all of a pass have other frequencies.
    """
    config = model.config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or {}
    original = rope.get("original_max_position_embeddings") or getattr(
        config, "original_max_position_embeddings", None
    )
    kinds = [rope, *(each for each in rope.values() if isinstance(each, dict))]
    is_long = any(each.get("rope_type") == "longrope" for each in kinds)
    return is_long and (original is None or original < (max_length or _NO_LIMIT))


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
