"""Shares: a worker's part of the cores and of a device's memory, where several share them."""

from __future__ import annotations

import os

import torch

from labelmill.core.settings import EngineSettings


def keep_to_shares(settings: EngineSettings, device: str) -> None:
    """Bind this process to its part; to be called before it tokenises anything.

    Parameters:
        device: of the model that is loaded next, as ``models.toml`` has it.
    """
    if settings.cpu_threads is not None:
        torch.set_num_threads(settings.cpu_threads)
        # Read by tokenizers once, when it first tokenises.
        os.environ.setdefault("RAYON_NUM_THREADS", str(settings.cpu_threads))
    if settings.device_memory < 1 and device != "cpu" and torch.cuda.is_available():
        card = None if device == "auto" else torch.device(device)
        torch.cuda.set_per_process_memory_fraction(settings.device_memory, card)
