"""The device of an engine: what differs between a CPU and a CUDA device, in one place."""

from __future__ import annotations

import torch

from labelmill.core.catalog import ModelSpec
from labelmill.engines import checkpoint, varlen
from labelmill.engines.transfer import Cuda, CudaTransfer, Transfer
from labelmill.engines.varlen import Varlen


class Device:
    """This machine's CPU.

    Attributes:
        torch: the device for PyTorch.
        name: for people to read.
        transfer: brings tensors there and back.
        is_asynchronous: whether work goes on after its launch has returned.
    """

    is_asynchronous = False

    def __init__(self, device: torch.device) -> None:
        self.torch = device
        self.name = str(device)
        self.transfer = Transfer()

    def packing_kernel(self, dtype: torch.dtype) -> Varlen | None:
        """The kernel that packs are run by; None where they are run text by text.

        Raises:
            NotImplementedError: packs cannot be run here; says why.
        """
        return None


class CudaDevice(Device):
    """A CUDA device."""

    is_asynchronous = True

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.name = f"{device} {torch.cuda.get_device_name(device)}"
        self.transfer = CudaTransfer(device, Cuda(device))

    def packing_kernel(self, dtype: torch.dtype) -> Varlen | None:
        return varlen.load(self.torch, dtype)


def open_device(spec: ModelSpec) -> Device:
    """The device that a model's entry asks for.

    Raises:
        ConfigurationError: it is not there.
        DeviceLost: ``CUDA_VISIBLE_DEVICES`` names a card, and there is none.
    """
    device = checkpoint.choose_device(spec)
    return CudaDevice(device) if device.type == "cuda" else Device(device)
