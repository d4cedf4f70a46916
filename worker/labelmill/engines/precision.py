"""Precision: what a model of half precision computes in single precision all the same."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

# Parameters of a head that is small: 64 MB in single precision, and few operations a text.
_SMALL_HEAD = 16_000_000


def refine_head(model: PreTrainedModel) -> None:
    """Let a model's head, where it is small, compute in single precision.

    It reads one row a text, so this costs next to nothing, and the scores are not rounded once more
    than the trunk rounds. A head that is large stays as it is, and gets its input in its own
    precision.
    """
    if not model.dtype.is_floating_point or model.dtype == torch.float32:
        return
    heads = [head for head in _heads(model) if next(head.parameters(), None) is not None]
    size = sum(parameter.numel() for head in heads for parameter in head.parameters())
    for head in heads:
        if size <= _SMALL_HEAD:
            head.float()
        head.register_forward_pre_hook(_in_its_precision, with_kwargs=True)


def _heads(model: PreTrainedModel) -> list[torch.nn.Module]:
    """What comes after the rows that are pooled."""
    trunk = model.base_model
    if trunk is model:
        return []
    heads = [child for child in model.children() if child is not trunk]
    pooler = getattr(trunk, "pooler", None)
    return heads if pooler is None else [*heads, pooler]


def _in_its_precision(
    head: torch.nn.Module, args: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    dtype = next(head.parameters()).dtype

    def cast(value: Any) -> Any:
        return value.to(dtype) if torch.is_tensor(value) and value.is_floating_point() else value

    return tuple(map(cast, args)), {name: cast(value) for name, value in options.items()}
