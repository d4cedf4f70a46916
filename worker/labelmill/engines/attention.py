"""Attention of packed texts: each text attends to itself, as an attention function of transformers.

https://huggingface.co/docs/transformers/attention_interface
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any, Self, cast

import torch
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from labelmill.engines.transfer import Upload

#: The name under which transformers knows it.
ATTENTION = "labelmill_packed"

# Some models hand all that they do not know on to their attention, which takes no notice.
_INPUTS = {"position_ids", "token_type_ids"}


@dataclass(frozen=True)
class PackedTexts:
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

    @classmethod
    def of(cls, lengths: Sequence[int], upload: Upload) -> Self:
        """Texts of these lengths, end to end in this order."""
        bounds = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
        return cls(upload(torch.tensor(lengths)), upload(bounds), max(lengths), _runs(lengths))


#: What the model runs on now, since transformers cannot hand it through every architecture:
#: ``texts``, the :class:`PackedTexts`; in a last layer that was narrowed, ``hidden``, what it was
#: given, and the ``keys`` and ``values`` of all tokens, which are None elsewhere.
current = threading.local()


def _runs(lengths: Sequence[int]) -> list[tuple[int, int, int]]:
    runs, start = [], 0
    for length, group in groupby(lengths):
        number = len(list(group))
        runs.append((start, length, number))
        start += length * number
    return runs


def attend(
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
        query: shape ``[1, heads, rows, width]``; the rows are all tokens, or, in a narrowed last
            layer, the first of each text.
        key: shape ``[1, heads, tokens, width]``; there may be fewer heads than of queries.
        sliding_window: how far a token sees, itself included; to both sides, unless causal.

    Returns:
        shape ``[1, rows, heads, width]``, and no weights.

    Raises:
        NotImplementedError: the attention does something more.
    """
    biases = [name for name, value in options.items() if torch.is_tensor(value)]
    if attention_mask is not None or softcap or not _INPUTS.issuperset(biases):
        raise NotImplementedError("this attention has a mask, a bias or a cap of its own")
    causal = bool(getattr(module, "is_causal", True) if is_causal is None else is_causal)
    texts: PackedTexts = current.texts
    narrow = current.keys is not None
    if narrow:
        if causal or sliding_window is not None:
            raise NotImplementedError("the first token does not see its whole text")
        heads, width = query.shape[1], query.shape[3]
        key, value = (
            each.unflatten(2, (heads, width)).transpose(1, 2)
            for each in (current.keys, current.values)
        )
    if query.is_cuda and query.dtype != torch.float32:
        return _attend_on_cuda(query, key, value, texts, scaling, causal, sliding_window), None
    attended = query.new_empty(query.shape[2], query.shape[1], value.shape[3])
    first_row = 0
    for start, length, number in texts.runs:
        rows = 1 if narrow else length
        windowed = sliding_window is not None and length > sliding_window
        part = scaled_dot_product_attention(
            _side_by_side(query, first_row, rows, number),
            _side_by_side(key, start, length, number),
            _side_by_side(value, start, length, number),
            attn_mask=_window(length, sliding_window, causal, query.device) if windowed else None,
            is_causal=causal and not windowed,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        attended[first_row : first_row + number * rows] = part.transpose(1, 2).flatten(0, 1)
        first_row += number * rows
    return attended[None], None


def _attend_on_cuda(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    texts: PackedTexts,
    scaling: float | None,
    causal: bool,
    sliding_window: int | None,
) -> torch.Tensor:
    """All texts in one kernel; shapes as :func:`attend` has them."""
    narrow = query.shape[2] != key.shape[2]
    q, k, v = (each[0].transpose(0, 1).contiguous() for each in (query, key, value))
    reach = -1 if sliding_window is None else sliding_window - 1
    attended = varlen_attn(
        q,
        k,
        v,
        torch.arange(len(texts.bounds)).to(texts.bounds) if narrow else texts.bounds,
        texts.bounds,
        1 if narrow else texts.longest,
        texts.longest,
        scale=scaling,
        window_size=(reach, 0 if causal else reach),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return cast("torch.Tensor", attended)[None]


def _side_by_side(tensor: torch.Tensor, start: int, length: int, number: int) -> torch.Tensor:
    """Texts of one length; ``[1, heads, tokens, width]`` → ``[texts, heads, length, width]``."""
    part = tensor[0, :, start : start + length * number]
    return part.view(part.shape[0], number, length, part.shape[2]).transpose(0, 1)


def _window(
    length: int, sliding_window: int | None, causal: bool, device: torch.device
) -> torch.Tensor:
    """Which tokens see which; shape ``[length, length]``."""
    places = torch.arange(length, device=device)
    distance = places[:, None] - places[None, :]
    seen = distance.abs() < (sliding_window or length)
    return seen & (distance >= 0) if causal else seen


AttentionInterface.register(ATTENTION, attend)
