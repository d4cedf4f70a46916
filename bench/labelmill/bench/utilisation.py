"""Utilisation: how busy a GPU is while something else is measured, and what energy it takes."""

from __future__ import annotations

import statistics
import subprocess
import threading
from typing import Self

import torch

_PAUSE_S = 0.2


class Utilisation:
    """Asks every 0.2 seconds, in a thread of its own, for as long as the block lasts.

    Attributes:
        samples: the shares of time, in per cent, that kernels ran on the device.
    """

    def __init__(self) -> None:
        self.samples: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    @property
    def mean(self) -> float | None:
        """Over all samples; None without any."""
        return statistics.fmean(self.samples) if self.samples else None

    def _sample(self) -> None:
        while not self._ended.wait(_PAUSE_S):
            if (now := _now()) is not None:
                self.samples.append(now)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def _now() -> float | None:
    if not torch.cuda.is_available():
        return None
    try:
        return float(torch.cuda.utilization())
    except (ModuleNotFoundError, RuntimeError):  # it needs a package of NVIDIA's
        pass
    question = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, timeout=5, check=True)
        return float(answer.stdout.splitlines()[0])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def joules(device: str) -> float | None:
    """The energy that a GPU has taken since its driver was loaded; None where nothing tells it."""
    if not torch.cuda.is_available():
        return None
    try:
        import pynvml  # NVIDIA's, which torch takes too, where it is installed
    except ModuleNotFoundError:
        return None
    # Not by number: torch counts those alone that this process may see.
    uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
    except pynvml.NVMLError:
        return None
