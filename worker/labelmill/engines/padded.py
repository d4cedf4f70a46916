"""Padded passes: several texts side by side, padded to the longest, as transformers runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from labelmill.engines.tokens import Encoding
from labelmill.engines.transfer import Transfer

_MASK = "attention_mask"
# What stands where no text is, of those inputs where that is not 0; an attribute of a tokenizer.
_PADDING = {"input_ids": "pad_token_id", "token_type_ids": "pad_token_type_id"}


class PaddedModel:
    """Runs a sequence classifier on padded batches.

    Parameters:
        tokenizer: says what to pad with, and on which side.
        inputs: what the rows of an encoding are called.
        transfer: brings tensors to the model's device.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        inputs: Sequence[str],
        transfer: Transfer,
    ) -> None:
        self._model = model
        self._left = tokenizer.padding_side == "left"
        self._names = [*inputs, *([_MASK] if _MASK in tokenizer.model_input_names else [])]
        self._padding = [getattr(tokenizer, _PADDING.get(name, ""), None) for name in inputs]
        self._transfer = transfer
        self._run: Callable[..., Any] = model
        self._options = {"use_cache": False} if hasattr(model.config, "use_cache") else {}

    def compile(self) -> None:
        """Run through ``torch.compile`` from now on; the first passes take minutes."""
        self._run = torch.compile(self._model, dynamic=True)  # one program for passes of all sizes

    def uncompile(self) -> None:
        """Run as before :meth:`compile`."""
        self._run = self._model

    @torch.inference_mode()
    def __call__(self, texts: Sequence[Encoding]) -> torch.Tensor:
        """The logits of the texts, on the model's device; shape ``[texts, labels]``.

        Raises:
            Exception: what the model raises, of any kind.
        """
        lengths = [text.shape[1] for text in texts]
        longest = max(lengths)
        block = self._transfer.host([len(self._names), len(texts), longest], torch.int32)
        numbers = block.numpy()
        if longest > min(lengths):
            for row, padding in zip(numbers, self._padding, strict=False):
                row[...] = padding or 0
        if masked := len(self._names) > len(self._padding):
            numbers[-1] = 0
        for place, (text, length) in enumerate(zip(texts, lengths, strict=True)):
            start = longest - length if self._left else 0
            numbers[: len(text), place, start : start + length] = text
            if masked:
                numbers[-1, place, start : start + length] = 1
        given = dict(zip(self._names, self._transfer.send(block).long(), strict=True))
        # A compiler makes a program of its own for one text, which is not worth its minute.
        run = self._run if len(texts) > 1 else self._model
        return cast("torch.Tensor", run(**given, **self._options).logits)
