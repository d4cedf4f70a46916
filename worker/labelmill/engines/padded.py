"""Padded passes: several texts side by side, padded to the longest, as transformers runs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from labelmill.engines.tokens import Encoding
from labelmill.engines.transfer import Upload


class PaddedModel:
    """Runs a sequence classifier on padded batches.

    Parameters:
        upload: brings tensors to the model's device.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, upload: Upload
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._upload = upload
        self._options = {"use_cache": False} if hasattr(model.config, "use_cache") else {}

    def __call__(self, texts: Sequence[Encoding]) -> torch.Tensor:
        """The logits of the texts, on the model's device; shape ``[texts, labels]``.

        Raises:
            Exception: what the model raises, of any kind.
        """
        if len({len(text["input_ids"]) for text in texts}) == 1:
            batch = {name: torch.tensor([text[name] for text in texts]) for name in texts[0]}
        else:
            batch = dict(self._tokenizer.pad(list(texts), padding=True, return_tensors="pt"))
        on_device = {name: self._upload(tensor) for name, tensor in batch.items()}
        return cast("torch.Tensor", self._model(**on_device, **self._options).logits)
