"""Packed passes: several texts end to end as one sequence, without padding.

A classifier of transformers runs unchanged on one sequence that holds all texts, but for three
things: positions count anew in each text, attention stays within each text, and the head sees one
row a text. Attention is exchanged through transformers' ``AttentionInterface``
(https://huggingface.co/docs/transformers/attention_interface).

Whether an architecture can be run like this is for the caller to check by its answers: one that
mixes tokens in any other way answers differently.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate, groupby
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from worker.engines.tokens import Encoding
from worker.engines.transfer import Upload

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # torch < 2.10
    varlen_attn = None

_ATTENTION = "labelmill_packed"
# Some models hand all that they do not know on to their attention, which takes no notice.
_INPUTS = {"position_ids", "token_type_ids"}


class Pooling(Enum):
    """Which row of a text its head sees."""

    FIRST = "the first token's"
    MEAN = "the mean of its tokens'"
    LAST = "the last token's"


@dataclass(frozen=True)
class _Texts:
    """Where each text of a pack lies.

    Attributes:
        lengths: in tokens; int64, shape ``[texts]``.
        bounds: where each begins, and where the last ends; int32, shape ``[texts + 1]``.
        longest: the greatest of the lengths.
        runs: start, length and number of neighbours that are of one length.
    """

    lengths: torch.Tensor
    bounds: torch.Tensor
    longest: int
    runs: list[tuple[int, int, int]]


# What the model runs on now: transformers has no way to hand it through every architecture.
_pack = threading.local()


class PackedModel:
    """Runs a sequence classifier on packs.

    Parameters:
        model: can be run only through this object from now on, until :meth:`restore`.
        first_position: the position of a text's first token.
        pooling: what the head sees of a text.
        upload: brings tensors to the model's device.

    Raises:
        NotImplementedError: the model's attention cannot be exchanged.
    """

    def __init__(
        self, model: PreTrainedModel, first_position: int, pooling: Pooling, upload: Upload
    ) -> None:
        self._model = model
        self._first_position = first_position
        self._pooling = pooling
        self._upload = upload
        self._padding = model.config.pad_token_id
        self._own_attention = model.config._attn_implementation
        model.set_attn_implementation(_ATTENTION)
        if model.config._attn_implementation != _ATTENTION:
            raise NotImplementedError(f"{type(model).__name__} has an attention of its own")
        trunk = model.base_model
        # The pooler of a model like BERT is part of its trunk: what comes before it is hooked.
        encoder = getattr(trunk, "encoder", getattr(trunk, "transformer", trunk))
        self._hook = encoder.register_forward_hook(self._one_row_a_text)

    def restore(self) -> None:
        """Let the model be run as it was before."""
        self._hook.remove()
        self._model.set_attn_implementation(self._own_attention)

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
        _pack.texts = _Texts(
            self._upload(torch.tensor(lengths)),
            self._upload(torch.tensor(bounds, dtype=torch.int32)),
            max(lengths),
            _runs(lengths),
        )
        if self._pooling is not Pooling.LAST:
            logits: torch.Tensor = self._model(**inputs).logits
            return logits
        last = [
            start + self._last(text["input_ids"]) for start, text in zip(bounds, texts, strict=False)
        ]
        hidden = self._model.base_model(**inputs, use_cache=False).last_hidden_state
        scores: torch.Tensor = self._model.score(hidden[0, self._upload(torch.tensor(last))])
        return scores

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
        texts: _Texts = _pack.texts
        if self._pooling is Pooling.FIRST:
            output.last_hidden_state = hidden[texts.bounds[:-1]].unsqueeze(1)
        elif self._pooling is Pooling.MEAN:
            means = torch.segment_reduce(hidden, "mean", lengths=texts.lengths)
            output.last_hidden_state = means.unsqueeze(1)
        return output


def _runs(lengths: Sequence[int]) -> list[tuple[int, int, int]]:
    runs, start = [], 0
    for length, group in groupby(lengths):
        number = len(list(group))
        runs.append((start, length, number))
        start += length * number
    return runs


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of each text to itself, as an attention function of transformers.

    Parameters:
        query: shape ``[1, heads, tokens, width]``; keys and values may have fewer heads.
        sliding_window: how far a token sees, itself included; to both sides, unless causal.

    Returns:
        shape ``[1, tokens, heads, width]``, and no weights.
    """
    biases = [name for name, value in options.items() if torch.is_tensor(value)]
    if attention_mask is not None or softcap or not _INPUTS.issuperset(biases):
        raise NotImplementedError("this attention has a mask, a bias or a cap of its own")
    causal = bool(getattr(module, "is_causal", True) if is_causal is None else is_causal)
    texts: _Texts = _pack.texts
    if query.is_cuda and varlen_attn is not None and query.dtype != torch.float32:
        reach = -1 if sliding_window is None else sliding_window - 1
        attended = varlen_attn(
            *(each[0].transpose(0, 1).contiguous() for each in (query, key, value)),
            texts.bounds,
            texts.bounds,
            texts.longest,
            texts.longest,
            scale=scaling,
            window_size=(reach, 0 if causal else reach),
            enable_gqa=query.shape[1] != key.shape[1],
        )
        return attended[None], None
    attended = query.new_empty(query.shape[2], query.shape[1], value.shape[3])
    for start, length, number in texts.runs:
        end = start + length * number
        # [heads, tokens, width] → [texts, heads, length, width]
        parts = (
            each[0, :, start:end].unflatten(1, (number, length)).transpose(0, 1)
            for each in (query, key, value)
        )
        windowed = sliding_window is not None and length > sliding_window
        part = scaled_dot_product_attention(
            *parts,
            attn_mask=_window(length, sliding_window, causal, query.device) if windowed else None,
            is_causal=causal and not windowed,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        attended[start:end] = part.transpose(1, 2).flatten(0, 1)
    return attended[None], None


def _window(
    length: int, sliding_window: int | None, causal: bool, device: torch.device
) -> torch.Tensor:
    """Which tokens see which; shape ``[length, length]``."""
    places = torch.arange(length, device=device)
    distance = places[:, None] - places[None, :]
    seen = distance.abs() < (sliding_window or length)
    return seen & (distance >= 0) if causal else seen


AttentionInterface.register(_ATTENTION, _attend)
