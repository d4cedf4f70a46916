"""Transfer: tensors on their way to the device, and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from labelmill.engines.labels import Logits


def download(rows: Sequence[torch.Tensor]) -> list[Logits]:
    """Rows of logits in the CPU's memory, in single precision; waits for the device."""
    return list(torch.stack(list(rows)).float().cpu().numpy())


class Upload:
    """Brings tensors to a device; to CUDA from pinned memory, on a stream of its own.

    A copy on that stream runs beside the pass of the group before, so that the device does not
    wait for it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor on the device; work that is launched from now on finds it there."""
        if self._stream is None:
            return tensor.to(self._device)
        with torch.cuda.stream(self._stream):
            moved = tensor.pin_memory().to(self._device, non_blocking=True)
        user = torch.cuda.current_stream(self._device)
        user.wait_stream(self._stream)
        moved.record_stream(user)
        return moved
