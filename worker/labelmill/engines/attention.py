"""Attention of packed texts: each text attends to itself, as an attention function of transformers.

https://huggingface.co/docs/transformers/attention_interface
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from labelmill.engines.varlen import Varlen

#: The name under which transformers knows it.
ATTENTION = "labelmill_packed"

# Some models hand all that they do not know on to their attention, which takes no notice.
_INPUTS = {"position_ids", "token_type_ids"}


@dataclass(frozen=True)
class PackedTexts:
    """Where each text of a pack lies.

    Attributes:
        lengths: in tokens.
        bounds: where each begins, and where the last ends; int32, on the device, shape
            ``[texts + 1]``.
        kernel: runs all texts at once; without one they are run text by text.
    """

    lengths: Sequence[int]
    bounds: torch.Tensor
    kernel: Varlen | None

    @cached_property
    def longest(self) -> int:
        """The greatest of the lengths."""
        return max(self.lengths)

    @cached_property
    def runs(self) -> list[tuple[int, int, int]]:
        """Start, length and number of neighbours that are of one length."""
        runs, start = [], 0
        for length, group in groupby(self.lengths):
            number = len(list(group))
            runs.append((start, length, number))
            start += length * number
        return runs


class PackState:
    """What a model's modules know of the pack that runs: each has it as ``labelmill_pack``.

    transformers cannot hand it through every architecture, and a compiler can follow attributes of
    modules, but nothing of a thread.

    Attributes:
        bounds: where each text begins, and where the last ends; int32, shape ``[texts + 1]``.
        firsts: where each text begins; int64, shape ``[texts]``.
        hidden: in a last layer that was narrowed, what it was given; else None.
        keys: there, those of all tokens, and ``values`` likewise.
    """

    bounds: torch.Tensor
    firsts: torch.Tensor
    hidden: torch.Tensor | None
    keys: torch.Tensor | None
    values: torch.Tensor | None

    def begin(self, bounds: torch.Tensor, firsts: torch.Tensor) -> None:
        """Begin a pass."""
        self.bounds, self.firsts = bounds, firsts
        self.hidden = self.keys = self.values = None

    def end(self) -> None:
        """Let go the tensors of the pass."""
        vars(self).clear()


#: In ``texts``, the :class:`PackedTexts` that run in this thread: what a compiler must not look at.
running = threading.local()


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
    pack: PackState = module.labelmill_pack  # type: ignore[assignment]
    if pack.keys is not None and pack.values is not None:
        if causal or sliding_window is not None:
            raise NotImplementedError("the first token does not see its whole text")
        heads, width = query.shape[1], query.shape[3]
        key = pack.keys.unflatten(2, (heads, width)).transpose(1, 2)
        value = pack.values.unflatten(2, (heads, width)).transpose(1, 2)
    run = _attend_as_one if torch.compiler.is_compiling() else _attend
    return run(query, key, value, scaling, causal, sliding_window), None


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    causal: bool,
    sliding_window: int | None,
) -> torch.Tensor:
    texts: PackedTexts = running.texts
    if texts.kernel is not None:
        return _attend_at_once(texts.kernel, query, key, value, scaling, causal, sliding_window)
    narrow = query.shape[2] != key.shape[2]
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
    return attended[None]


# The same as one operation, into which a compiler does not look.
_attend_as_one = torch.library.custom_op(
    "labelmill::attend",
    lambda *arguments: _attend(*arguments).contiguous(),
    mutates_args=(),
    schema="(Tensor query, Tensor key, Tensor value, float? scaling, bool causal,"
    " int? sliding_window) -> Tensor",
)


@_attend_as_one.register_fake
def _attended_shape(
    query: torch.Tensor, _key: torch.Tensor, value: torch.Tensor, *_: object
) -> torch.Tensor:
    return query.new_empty(1, query.shape[2], query.shape[1], value.shape[3])


def _attend_at_once(
    kernel: Varlen,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    causal: bool,
    sliding_window: int | None,
) -> torch.Tensor:
    """All texts in one kernel; shapes as :func:`attend` has them."""
    texts: PackedTexts = running.texts
    narrow = query.shape[2] != key.shape[2]
    reach = -1 if sliding_window is None else sliding_window - 1
    attended = kernel(
        *(each[0].transpose(0, 1) for each in (query, key, value)),
        query_bounds=_one_row_each(texts.bounds) if narrow else texts.bounds,
        key_bounds=texts.bounds,
        longest_query=1 if narrow else texts.longest,
        longest_key=texts.longest,
        scale=scaling,
        window=(reach, 0 if causal else reach),
    )
    return attended[None]


def _one_row_each(bounds: torch.Tensor) -> torch.Tensor:
    return torch.arange(len(bounds), dtype=bounds.dtype, device=bounds.device)


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
