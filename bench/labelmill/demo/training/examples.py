"""Training examples for `topics`: messages, never twice the same.

Some 280 messages a topic are few enough to be learnt by heart. So each time one is drawn it loses
words, its words may change places, words may be cut into other pieces than the tokenizer's own,
and it may be joined to a second message, with half of the label each.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import BertTokenizer

from labelmill.demo.training.common import Batch


@dataclass(frozen=True)
class Changes:
    """How probable each change is; chosen by cross-validation."""

    drop_word: float = 0.5
    shuffle: float = 0.3
    skip_piece: float = 0.1
    join: float = 0.7


class Examples:
    """Draws changed messages with their labels.

    Parameters:
        texts: the messages.
        labels: the number of each one's label.
        count: how many labels there are.
        tokenizer: fitted, WordPiece.
        max_length: tokens of an example, special ones included.
        seed: what makes the draws repeatable.
    """

    def __init__(
        self,
        texts: Sequence[str],
        labels: Sequence[int],
        count: int,
        tokenizer: BertTokenizer,
        max_length: int,
        seed: int,
    ) -> None:
        self._changes = Changes()
        self._random = random.Random(seed)
        self._pieces = tokenizer.get_vocab()
        self._begin, self._end, self._padding = (
            self._pieces[token] for token in ("[CLS]", "[SEP]", "[PAD]")
        )
        self._unknown = self._pieces["[UNK]"]
        self._max_words = max_length - 2
        self._words = [_words(text, tokenizer) for text in texts]
        self._labels = torch.eye(count)[list(labels)]

    def batch(self, size: int) -> Batch:
        """Draw examples; the labels are shares of each label, shape `[size, labels]`."""
        drawn = [self._example() for _ in range(size)]
        ids = torch.nn.utils.rnn.pad_sequence(
            [ids for ids, _ in drawn], batch_first=True, padding_value=self._padding
        )
        return {
            "input_ids": ids,
            "attention_mask": (ids != self._padding).long(),
            "labels": torch.stack([label for _, label in drawn]),
        }

    def _example(self) -> tuple[Tensor, Tensor]:
        words, label = self._message()
        if self._random.random() < self._changes.join:
            others, other_label = self._message()
            words, label = self._shuffled(words + others), (label + other_label) / 2
        ids = [piece for word in words for piece in self._split(word)]
        return torch.tensor([self._begin, *ids[: self._max_words], self._end]), label

    def _message(self) -> tuple[list[str], Tensor]:
        row = self._random.randrange(len(self._words))
        words = self._shuffled(self._words[row])
        kept = [word for word in words if self._random.random() >= self._changes.drop_word]
        return kept or words, self._labels[row]

    def _shuffled(self, words: list[str]) -> list[str]:
        if self._random.random() < self._changes.shuffle:
            return self._random.sample(words, len(words))
        return words

    def _split(self, word: str) -> list[int]:
        """Cut a word by longest match, skipping some matches (MaxMatch-Dropout, Hiraoka 2022)."""
        ids: list[int] = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end] if start == 0 else f"##{word[start:end]}"
                last = end == start + 1
                if piece in self._pieces and (
                    last or self._random.random() >= self._changes.skip_piece
                ):
                    ids.append(self._pieces[piece])
                    start = end
                    break
            else:
                return [self._unknown]
        return ids


def _words(text: str, tokenizer: BertTokenizer) -> list[str]:
    backend = tokenizer.backend_tokenizer
    normal = backend.normalizer.normalize_str(text)
    return [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normal)]
