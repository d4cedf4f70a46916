"""Stand-ins for a CUDA device: all that the engines do on one, without one.

They prove that the right things are asked of CUDA in the right order. What only a card shows, such
as speed, real precision and real memory, is for the tests that are marked ``gpu``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from labelmill.core.catalog import ModelSpec
from labelmill.engines import checkpoint
from labelmill.engines.device import Device
from labelmill.engines.text import TextEngine
from labelmill.engines.transfer import Cuda, CudaTransfer
from labelmill.engines.varlen import Varlen, refuse_card


def varlen_attn_of_2_11(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    return_aux: object = None,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
) -> torch.Tensor:
    """``torch.nn.attention.varlen.varlen_attn`` of PyTorch 2.11."""
    if query.shape[1] != key.shape[1]:
        raise ValueError("Expect query and key/value to have the same number of heads")
    return _attend(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, scale, window_size)


def varlen_attn_of_2_14(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor | None,
    max_q: int,
    max_k: int,
    *,
    return_aux: object = None,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
    seqused_k: torch.Tensor | None = None,
    block_table: torch.Tensor | None = None,
    num_splits: int | None = None,
) -> torch.Tensor:
    """The same of PyTorch 2.13 and 2.14."""
    if not enable_gqa and query.shape[1] != key.shape[1]:
        raise ValueError("Expect query and key/value to have the same number of heads")
    assert cu_seq_k is not None
    return _attend(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, scale, window_size)


#: The kernel by the version of PyTorch that has it.
KERNELS: dict[str, Callable[..., torch.Tensor]] = {
    "2.11": varlen_attn_of_2_11,
    "2.14": varlen_attn_of_2_14,
}


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    query_bounds: torch.Tensor,
    key_bounds: torch.Tensor,
    longest_query: int,
    longest_key: int,
    scale: float | None,
    window: tuple[int, int],
) -> torch.Tensor:
    """Attention text by text, summed in single precision as FlashAttention sums."""
    for each in (query, key, value):
        assert each.dtype in (torch.bfloat16, torch.float16), "FlashAttention only supports half"
        assert each.is_contiguous()
        assert each.shape[2] % 8 == 0
        assert each.shape[2] <= 256
    for bounds, longest, rows in (
        (query_bounds, longest_query, query),
        (key_bounds, longest_key, key),
    ):
        assert bounds.dtype == torch.int32
        assert bounds[0] == 0
        assert bounds[-1] == len(rows)
        assert bounds.diff().min() > 0
        assert bounds.diff().max() == longest
    attended = torch.empty_like(query)
    edges = zip(query_bounds.tolist(), key_bounds.tolist(), strict=True)
    first, first_key = next(edges)
    for last, last_key in edges:
        part = scaled_dot_product_attention(
            query[first:last].transpose(0, 1).float(),
            key[first_key:last_key].transpose(0, 1).float(),
            value[first_key:last_key].transpose(0, 1).float(),
            attn_mask=_seen(last - first, last_key - first_key, window),
            scale=scale,
            enable_gqa=True,
        )
        attended[first:last] = part.transpose(0, 1).to(query.dtype)
        first, first_key = last, last_key
    return attended


def _seen(queries: int, keys: int, window: tuple[int, int]) -> torch.Tensor:
    """Which keys each query sees; the last query stands at the last key."""
    left, right = (keys if reach < 0 else reach for reach in window)
    if window == (-1, -1):
        return torch.ones(queries, keys, dtype=torch.bool)
    place = torch.arange(queries)[:, None] + keys - queries
    distance = torch.arange(keys)[None, :] - place
    return (-left <= distance) & (distance <= right)


class StandInCuda(Cuda):
    """Notes what is asked of CUDA, in order.

    Attributes:
        asked: the calls, by name, and those on a stream or an event by theirs too.
    """

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.asked: list[str] = []
        self._streams = 0

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        self.asked.append("pinned")
        return torch.empty(tuple(shape), dtype=dtype)

    def new_stream(self) -> Any:
        return _Noting(self.asked, "copies")

    def current_stream(self) -> Any:
        return _Noting(self.asked, "passes")

    @contextmanager
    def using(self, stream: Any) -> Iterator[None]:
        self.asked.append(f"on {stream.name}")
        yield
        self.asked.append("off")

    def new_event(self) -> Any:
        return _Noting(self.asked, "event")

    def keep(self, tensor: torch.Tensor, stream: Any) -> None:
        self.asked.append(f"keep for {stream.name}")


class _Noting:
    """A stream or an event."""

    def __init__(self, asked: list[str], name: str) -> None:
        self._asked = asked
        self.name = name

    def wait_stream(self, other: _Noting) -> None:
        self._asked.append(f"{self.name} wait for {other.name}")

    def record(self, stream: _Noting) -> None:
        self._asked.append(f"{self.name} on {stream.name}")

    def synchronize(self) -> None:
        self._asked.append(f"synchronize {self.name}")


class StandInDevice(Device):
    """A CUDA device on the CPU.

    Attributes:
        cuda: what is asked of it.
    """

    is_asynchronous = True

    def __init__(
        self,
        kernel: Callable[..., torch.Tensor] = varlen_attn_of_2_14,
        capability: tuple[int, int] = (9, 0),
    ) -> None:
        super().__init__(torch.device("cpu"))
        self.name = "cuda"
        self.cuda = StandInCuda()
        self.transfer = CudaTransfer(self.torch, self.cuda)
        self._kernel = kernel
        self._capability = capability

    def packing_kernel(self, dtype: torch.dtype) -> Varlen | None:
        refuse_card(self._capability, dtype)
        return Varlen(self._kernel)


def stand_in_for_cuda(monkeypatch: pytest.MonkeyPatch, device: StandInDevice) -> None:
    """Let engines that are made from now on run on a stand-in, in half precision by default."""

    def open_device(spec: ModelSpec) -> Device:
        return device

    monkeypatch.setattr("labelmill.engines.text.open_device", open_device)
    monkeypatch.setattr("labelmill.engines.image.open_device", open_device)
    monkeypatch.setattr(checkpoint, "choose_dtype", _choose_dtype)


def _choose_dtype(spec: ModelSpec, device: torch.device) -> torch.dtype:
    return torch.bfloat16 if spec.dtype == "auto" else getattr(torch, spec.dtype)


class StandInTextEngine(TextEngine):
    """The text engine on a stand-in, for workers of their own process, as models.toml's engine."""

    def __init__(self, spec: ModelSpec) -> None:
        with pytest.MonkeyPatch.context() as monkeypatch:
            stand_in_for_cuda(monkeypatch, StandInDevice())
            super().__init__(spec)
