"""Tokens: many texts tokenised in one call, into flat arrays."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from labelmill.core.text import encodable_text

Encoding = npt.NDArray[np.int32]
"""What a model reads of one text: shape ``[inputs, tokens]``, the first row its ids. Those of texts
that were tokenised together are views of one array."""

_IDS, _TYPES, _MASK = "input_ids", "token_type_ids", "attention_mask"

# Otherwise tokenizers turns its threads off for good once a process has forked, with a warning.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


class BatchTokenizer:
    """Tokenises as ``tokenizer(texts, truncation=True)`` does.

    Tokenizers written in Rust are called themselves, on all cores and without the offsets that
    nobody reads here; that takes half of the time.

    Parameters:
        max_length: where a text is cut, in tokens; None for nowhere.

    Attributes:
        inputs: what the rows of an :data:`Encoding` are called, as arguments of the model. A mask
            is none of them: a text is read whole.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int | None) -> None:
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._backend = getattr(tokenizer, "backend_tokenizer", None)
        self._types_are_zero = False
        if self._backend is None:
            self.inputs = [name for name in self._tokenizer("a") if name != _MASK]
            self.inputs.sort(key=lambda name: name != _IDS)
            return
        self._backend.no_padding()
        self._backend.no_truncation()
        self._backend.encode_special_tokens = tokenizer.split_special_tokens
        if max_length is not None:
            self._backend.enable_truncation(max_length, direction=tokenizer.truncation_side)
        self.inputs = [_IDS]
        if _TYPES in tokenizer.model_input_names:
            self.inputs.append(_TYPES)
            # Of a single text they depend on the special tokens alone.
            self._types_are_zero = not any(self._backend.encode("a").type_ids)

    def __call__(self, texts: Sequence[str]) -> list[Encoding]:
        """The encodings, in the order of the texts."""
        clean = [encodable_text(text) for text in texts]
        if self._backend is None:
            encoded = self._tokenizer(
                clean, truncation=self._max_length is not None, max_length=self._max_length
            )
            lengths = [len(ids) for ids in encoded[_IDS]]
            return _cut([encoded[name] for name in self.inputs], lengths)
        encodings = self._backend.encode_batch_fast(clean, add_special_tokens=True)
        rows: list[Iterable[Sequence[int]] | None] = [(each.ids for each in encodings)]
        if len(self.inputs) > 1:
            types = (each.type_ids for each in encodings)
            rows.append(None if self._types_are_zero else types)
        return _cut(rows, [len(each) for each in encodings])


def _cut(rows: Sequence[Iterable[Sequence[int]] | None], lengths: Sequence[int]) -> list[Encoding]:
    """One array for all texts, cut into a view for each; a row that is None is zeros."""
    bounds = np.cumsum([0, *lengths])
    tokens = int(bounds[-1])
    flat = np.zeros((len(rows), tokens), np.int32)
    for place, row in enumerate(rows):
        if row is not None:
            flat[place] = np.fromiter(chain.from_iterable(row), np.int32, tokens)
    ends = bounds.tolist()
    return [flat[:, start:end] for start, end in pairwise(ends)]
