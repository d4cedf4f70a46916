"""Tokens: many texts tokenised in one call."""

from __future__ import annotations

import os
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from labelmill.core.text import encodable_text

Encoding = dict[str, list[int]]
"""What a model reads of one text: ``input_ids`` and their like, each of the text's length."""

# Otherwise tokenizers turns its threads off for good once a process has forked, with a warning.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


class BatchTokenizer:
    """Tokenises as ``tokenizer(texts, truncation=True)`` does.

    Tokenizers written in Rust are called themselves, on all cores and without the offsets that
    nobody reads here; that takes half of the time.

    Parameters:
        max_length: where a text is cut, in tokens; None for nowhere.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int | None) -> None:
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._backend = getattr(tokenizer, "backend_tokenizer", None)
        if self._backend is None:
            return
        self._backend.no_padding()
        self._backend.no_truncation()
        self._backend.encode_special_tokens = tokenizer.split_special_tokens
        if max_length is not None:
            self._backend.enable_truncation(max_length, direction=tokenizer.truncation_side)

    def __call__(self, texts: Sequence[str]) -> list[Encoding]:
        """The encodings, in the order of the texts."""
        clean = [encodable_text(text) for text in texts]
        if self._backend is None:
            return self._called(clean)
        encoded = self._backend.encode_batch_fast(clean, add_special_tokens=True)
        has_types = "token_type_ids" in self._tokenizer.model_input_names
        has_mask = "attention_mask" in self._tokenizer.model_input_names
        encodings = []
        for each in encoded:
            encoding = {"input_ids": each.ids}
            if has_types:
                encoding["token_type_ids"] = each.type_ids
            if has_mask:
                encoding["attention_mask"] = each.attention_mask
            encodings.append(encoding)
        return encodings

    def _called(self, texts: list[str]) -> list[Encoding]:
        encoded = self._tokenizer(
            texts, truncation=self._max_length is not None, max_length=self._max_length
        )
        names = list(encoded.keys())
        return [
            dict(zip(names, columns, strict=True))
            for columns in zip(*(encoded[name] for name in names), strict=True)
        ]
