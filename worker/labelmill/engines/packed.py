"""Packed passes: several texts end to end as one sequence, without padding.

A classifier of transformers runs unchanged on one sequence that holds all texts, but for three
things: positions count anew in each text, attention stays within each text, and the head sees one
row a text. Attention is exchanged through transformers' ``AttentionInterface``
(https://huggingface.co/docs/transformers/attention_interface).

Where the head sees the first token only, the last layer need not compute any other row. It still
attends to all tokens, so their keys and values are computed; queries, the attention's output and
the feed-forward part are not: of a model of two layers that is two fifths of the work.

Whether an architecture can be run like this is for the caller to check by its answers: one that
mixes tokens in any other way answers differently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from functools import partial
from itertools import accumulate
from typing import Any, cast

import torch
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from labelmill.engines.attention import ATTENTION, PackedTexts, current
from labelmill.engines.tokens import Encoding
from labelmill.engines.transfer import Upload

# What the projections to keys and values are called.
_KEYS = ("key", "k_lin", "k_proj")
_VALUES = ("value", "v_lin", "v_proj")


class Pooling(Enum):
    """Which row of a text its head sees."""

    FIRST_NARROW = "the first token's, the only one that the last layer computes"
    FIRST = "the first token's"
    MEAN = "the mean of its tokens'"
    LAST = "the last token's"


def pack_model(
    model: PreTrainedModel,
    first_position: int,
    upload: Upload,
    is_right: Callable[[PackedModel], bool],
) -> PackedModel | None:
    """Find a way to run a model on packs; the model is left as it was where there is none.

    Parameters:
        first_position: the position of a text's first token.
        upload: brings tensors to the model's device.
        is_right: whether the answers are those that the model gives to each text alone.
    """
    own_attention = model.config._attn_implementation
    model.set_attn_implementation(ATTENTION)
    if model.config._attn_implementation == ATTENTION:
        for pooling in Pooling:
            packed = PackedModel(model, first_position, pooling, upload)
            if is_right(packed):
                return packed
            packed.remove_hooks()
    model.set_attn_implementation(own_attention)
    return None


class PackedModel:
    """Runs a sequence classifier on packs; see :func:`pack_model`, which makes it."""

    def __init__(
        self, model: PreTrainedModel, first_position: int, pooling: Pooling, upload: Upload
    ) -> None:
        self._model = model
        self._first_position = first_position
        self._pooling = pooling
        self._upload = upload
        # Of a composite model, whose parts have configurations of their own, the text's.
        self._padding = getattr(model.config.get_text_config(), "pad_token_id", None)
        trunk = model.base_model
        # The pooler of a model like BERT is part of its trunk: what comes before it is hooked.
        encoder = getattr(trunk, "encoder", getattr(trunk, "transformer", trunk))
        self._hooks = [encoder.register_forward_hook(self._one_row_a_text)]
        if pooling is Pooling.FIRST_NARROW:
            self._hooks += _narrow_last_layer(encoder)

    def remove_hooks(self) -> None:
        """Let the model compute all rows again."""
        for hook in self._hooks:
            hook.remove()

    def __call__(self, texts: Sequence[Encoding]) -> torch.Tensor:
        """The logits of the texts, on the model's device; shape ``[texts, labels]``.

        Raises:
            Exception: what the model raises, of any kind, where it cannot be run like this.
        """
        inputs = {
            name: self._one_sequence(text[name] for text in texts)
            for name in texts[0]
            if name != "attention_mask"
        }
        inputs["position_ids"] = self._one_sequence(
            self._positions(text["input_ids"]) for text in texts
        )
        lengths = [len(text["input_ids"]) for text in texts]
        bounds = [0, *accumulate(lengths)]
        current.texts = PackedTexts.of(lengths, self._upload)
        current.keys = current.values = None
        try:
            return self._logits(inputs, texts, bounds)
        finally:
            vars(current).clear()  # it held tensors of the pass

    def _logits(
        self, inputs: dict[str, torch.Tensor], texts: Sequence[Encoding], bounds: Sequence[int]
    ) -> torch.Tensor:
        if self._pooling is not Pooling.LAST:
            return cast("torch.Tensor", self._model(**inputs).logits)
        hidden = self._model.base_model(**inputs, use_cache=False).last_hidden_state
        last = [
            start + self._last(text["input_ids"])
            for start, text in zip(bounds[:-1], texts, strict=True)
        ]
        return cast("torch.Tensor", self._model.score(hidden[0, self._upload(torch.tensor(last))]))

    def _one_sequence(self, parts: Iterator[Sequence[int]]) -> torch.Tensor:
        return self._upload(torch.tensor([[each for part in parts for each in part]]))

    def _positions(self, ids: Sequence[int]) -> Sequence[int]:
        first, padding = self._first_position, self._padding
        if not first or padding not in ids:
            return range(first, first + len(ids))
        # Models that count from behind padding (RoBERTa) do not count it within a text either.
        counts = accumulate(each != padding for each in ids)
        return [
            first - 1 + count if each != padding else padding
            for each, count in zip(ids, counts, strict=True)
        ]

    def _last(self, ids: Sequence[int]) -> int:
        """Where a decoder's head looks: at the last token that is not its padding."""
        places = (place for place in reversed(range(len(ids))) if ids[place] != self._padding)
        return next(places, 0)

    def _one_row_a_text(self, module: torch.nn.Module, args: Any, output: Any) -> Any:
        hidden = output.last_hidden_state[0]
        texts: PackedTexts = current.texts
        if self._pooling is Pooling.FIRST_NARROW:
            output.last_hidden_state = hidden.unsqueeze(1)
        elif self._pooling is Pooling.FIRST:
            output.last_hidden_state = hidden[texts.bounds[:-1]].unsqueeze(1)
        elif self._pooling is Pooling.MEAN:
            means = torch.segment_reduce(hidden, "mean", lengths=texts.lengths)
            output.last_hidden_state = means.unsqueeze(1)
        return output


def _narrow_last_layer(encoder: torch.nn.Module) -> list[RemovableHandle]:
    """Let the last layer see the first rows of the texts only, but for its keys and values.

    Those are computed of all tokens and handed to the attention beside the layer, which gets what
    it expects: as many keys and values as it has rows. Where a layer has no such parts, nothing is
    narrowed.
    """
    layers = [child for child in encoder.children() if isinstance(child, torch.nn.ModuleList)]
    last = layers[0][-1] if layers else encoder
    parts = {name.rpartition(".")[2]: part for name, part in last.named_modules()}
    keys = next((parts[name] for name in _KEYS if name in parts), None)
    values = next((parts[name] for name in _VALUES if name in parts), None)
    if last is encoder or keys is None or values is None:
        return []
    return [
        last.register_forward_pre_hook(_take_first_rows),
        keys.register_forward_hook(partial(_of_all_tokens, "keys")),
        values.register_forward_hook(partial(_of_all_tokens, "values")),
    ]


def _take_first_rows(_: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    current.hidden = args[0]
    return (current.hidden[:, current.texts.bounds[:-1]], *args[1:])


def _of_all_tokens(kept: str, projection: Any, *_: Any) -> None:
    setattr(current, kept, projection.forward(current.hidden))
