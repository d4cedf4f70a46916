"""Transfer: inputs on their way to the device, and logits on their way back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from labelmill.engines.labels import Logits


class Fetched(Protocol):
    """Logits of a pass on their way to the CPU's memory."""

    def wait(self) -> None:
        """Return once the device has finished them."""

    def rows(self) -> Logits:
        """The logits, single precision, shape ``[texts, labels]``; waits for them."""


class Row(NamedTuple):
    """The logits of one job: a row of those of its pass."""

    fetched: Fetched
    place: int


class Transfer:
    """Brings tensors to a device and back; this one to the CPU, where they are already."""

    def host(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Memory of the CPU, not initialised, to be filled and then sent."""
        return torch.empty(tuple(shape), dtype=dtype)

    def send(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor on the device; work that is launched from now on finds it there."""
        return tensor

    def fetch(self, logits: torch.Tensor) -> Fetched:
        """Begin to bring logits of the shape ``[texts, labels]`` back."""
        return _Here(logits)


class Cuda:
    """What of CUDA a transfer uses; the tests run it with a stand-in."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Page-locked memory. PyTorch keeps what is let go, and hands it out again once no copy
        reads it any more: after the first passes nothing is allocated."""
        return torch.empty(tuple(shape), dtype=dtype, pin_memory=True)

    def new_stream(self) -> Any:
        """A stream of its own."""
        return torch.cuda.Stream(self._device)

    def current_stream(self) -> Any:
        """The stream that the passes are launched on."""
        return torch.cuda.current_stream(self._device)

    def using(self, stream: Any) -> AbstractContextManager[Any]:
        """Launch on a stream inside a ``with`` block."""
        return torch.cuda.stream(stream)

    def new_event(self) -> Any:
        """An event that is waited for asleep, not by polling."""
        return torch.cuda.Event(blocking=True)

    def keep(self, tensor: torch.Tensor, stream: Any) -> None:
        """Let the tensor's memory be used anew only when the stream is through with it."""
        tensor.record_stream(stream)


class CudaTransfer(Transfer):
    """To CUDA from page-locked memory, on a stream of its own, without ever waiting for it.

    A copy on that stream runs beside the pass of the group before, so that the device does not
    wait for it either.
    """

    def __init__(self, device: torch.device, cuda: Cuda) -> None:
        self._device = device
        self._cuda = cuda
        self._stream = cuda.new_stream()

    def host(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        return self._cuda.pinned(shape, dtype)

    def send(self, tensor: torch.Tensor) -> torch.Tensor:
        with self._cuda.using(self._stream):
            moved = torch.empty_like(tensor, device=self._device)
            moved.copy_(tensor, non_blocking=True)
        user = self._cuda.current_stream()
        user.wait_stream(self._stream)
        self._cuda.keep(moved, user)
        return moved

    def fetch(self, logits: torch.Tensor) -> Fetched:
        host = self._cuda.pinned(logits.shape, torch.float32)
        host.copy_(logits.float(), non_blocking=True)
        event = self._cuda.new_event()
        event.record(self._cuda.current_stream())
        return _UnderWay(host, event)


class _Here:
    def __init__(self, logits: torch.Tensor) -> None:
        self._rows: Logits = logits.float().numpy()

    def wait(self) -> None:
        pass

    def rows(self) -> Logits:
        return self._rows


class _UnderWay:
    def __init__(self, host: torch.Tensor, event: Any) -> None:
        self._host = host
        self._event = event

    def wait(self) -> None:
        self._event.synchronize()

    def rows(self) -> Logits:
        self.wait()
        rows: Logits = self._host.numpy()
        return rows


def gather(outputs: Sequence[Row]) -> Logits:
    """The logits of these jobs, shape ``[jobs, labels]``; waits for the device."""
    passes = {id(each.fetched): each.fetched for each in outputs}
    if len(passes) == 1:
        return outputs[0].fetched.rows()[[each.place for each in outputs]]
    rows = {number: fetched.rows() for number, fetched in passes.items()}
    return np.stack([rows[id(each.fetched)][each.place] for each in outputs])


def wait(outputs: Sequence[Row]) -> None:
    """Return once the device has finished these."""
    for fetched in _passes(outputs):
        fetched.wait()


def _passes(outputs: Sequence[Row]) -> Iterable[Fetched]:
    return {id(each.fetched): each.fetched for each in outputs}.values()
