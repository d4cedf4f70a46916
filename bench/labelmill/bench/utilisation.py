"""Utilisation: how busy a GPU is while something else is measured."""

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
