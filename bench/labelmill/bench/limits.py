"""The limits: a bare forward pass over inputs that are ready, all of one shape."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

_SECONDS = 1.0


def text_limit(
    folder: Path, batch: int, length: int, device: str = "cpu", dtype: str = "float32"
) -> Callable[[], float]:
    """A measurement of tokens a second.

    Parameters:
        batch: how many sequences.
        length: of each, in tokens.
    """
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype)
    ids = torch.randint(5, model.config.vocab_size - 5, (batch, length), device=device)
    return _limit(model.to(device).eval(), batch * length, input_ids=ids)


def image_limit(
    folder: Path, batch: int, device: str = "cpu", dtype: str = "float32"
) -> Callable[[], float]:
    """A measurement of images a second."""
    model = AutoModelForImageClassification.from_pretrained(folder, dtype=dtype)
    size = model.config.image_size
    pixels = torch.rand((batch, 3, size, size), device=device, dtype=model.dtype)
    return _limit(model.to(device).eval(), batch, pixel_values=pixels)


def _limit(model: Any, items: int, **batch: torch.Tensor) -> Callable[[], float]:
    def passes(seconds: float) -> float:
        """How many a second, over about that many seconds."""
        number, start = 0, time.perf_counter()
        while number == 0 or time.perf_counter() - start < seconds:
            model(**batch).logits.cpu()  # waits for the device
            number += 1
        return number * items / (time.perf_counter() - start)

    def measure() -> float:
        with torch.inference_mode():
            passes(_SECONDS / 10)  # warm
            return passes(_SECONDS)

    return measure
