"""Attention of packed texts in one kernel: ``varlen_attn``, as each version of PyTorch has it.

https://docs.pytorch.org/docs/stable/nn.attention.varlen.html. Underneath is FlashAttention, whose
limits are stated there: half precision, heads of at most 256, cards from compute capability 8.0.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import cast

import torch
from torch.nn.functional import pad

Kernel = Callable[..., object]

_HALF = (torch.bfloat16, torch.float16)
_NOT_HALF = "the kernel for packs takes half precision, not {}"
_WIDEST_HEAD = 256
_WIDTH_STEP = 8
_LEAST_CAPABILITY = (8, 0)


class Varlen:
    """Calls the kernel with what its version takes.

    Parameters:
        kernel: ``torch.nn.attention.varlen.varlen_attn``, or one of its signature.

    Raises:
        NotImplementedError: this version has no windows.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        parameters = inspect.signature(kernel).parameters
        if not {"scale", "window_size"} <= set(parameters):
            raise NotImplementedError("varlen_attn of this PyTorch is too old; 2.11 is enough")
        self._takes_fewer_keys = "enable_gqa" in parameters  # 2.11 does not

    def __call__(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        query_bounds: torch.Tensor,
        key_bounds: torch.Tensor,
        longest_query: int,
        longest_key: int,
        scale: float | None,
        window: tuple[int, int],
    ) -> torch.Tensor:
        """Attention of each text to itself.

        Parameters:
            query: shape ``[rows, heads, width]``.
            key: shape ``[tokens, heads, width]``, and ``value`` likewise; there may be fewer heads
                than of queries.
            query_bounds: where each text begins, and where the last ends; int32.
            scale: by default one through the root of the width.
            window: how many tokens are seen to the left and to the right; -1 for all.

        Returns:
            shape ``[rows, heads, width]``.

        Raises:
            NotImplementedError: the kernel cannot do this.
        """
        width = query.shape[2]
        if query.dtype not in _HALF:
            raise NotImplementedError(_NOT_HALF.format(query.dtype))
        if width > _WIDEST_HEAD or value.shape[2] != width:
            raise NotImplementedError(
                f"the kernel for packs takes heads of one width up to {_WIDEST_HEAD}, not "
                f"{width} and {value.shape[2]}"
            )
        if missing := -width % _WIDTH_STEP:
            # Zeros change neither a product nor, cut off again, the sum of the values.
            scale = width**-0.5 if scale is None else scale
            query, key, value = (pad(each, (0, missing)) for each in (query, key, value))
        options: dict[str, object] = {}
        if (repeats := query.shape[1] // key.shape[1]) > 1:
            if self._takes_fewer_keys:
                options["enable_gqa"] = True
            else:
                key, value = (each.repeat_interleave(repeats, dim=1) for each in (key, value))
        attended = self._kernel(
            query.contiguous(),
            key.contiguous(),
            value.contiguous(),
            query_bounds,
            key_bounds,
            longest_query,
            longest_key,
            scale=scale,
            window_size=window,
            **options,
        )
        return cast("torch.Tensor", attended)[..., :width]


def load(device: torch.device, dtype: torch.dtype) -> Varlen:
    """The kernel for packs on a CUDA device.

    Raises:
        NotImplementedError: there is none for this PyTorch, card or precision; says which.
    """
    refuse_card(torch.cuda.get_device_capability(device), dtype)
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        raise NotImplementedError("PyTorch before 2.10 has no kernel for packs") from None
    return Varlen(varlen_attn)


def refuse_card(capability: tuple[int, int], dtype: torch.dtype) -> None:
    """Refuse a card or a precision that the kernel does not take.

    Raises:
        NotImplementedError: it takes it not; says why.
    """
    if dtype not in _HALF:
        raise NotImplementedError(_NOT_HALF.format(dtype))
    if capability < _LEAST_CAPABILITY:
        raise NotImplementedError(
            "the kernel for packs needs compute capability {}.{}, this card has {}.{}".format(
                *_LEAST_CAPABILITY, *capability
            )
        )
