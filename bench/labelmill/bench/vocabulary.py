"""A made-up language: words, how often each is used, and a WordPiece tokenizer that knows them."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import transformers

_ONSETS = [*"bcdfghjklmnprstvw", "st", "tr", "pl", "gr", "sh", "th"]
_NUCLEI = [*"aeiou", "ai", "ou", "ea"]
_CODAS = ["", "n", "r", "s", "t", "l", "nd", "ck"]
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

_WORDS = 40_000
_WHOLE = 24_000  # so many of the commonest are one token; the others are spelt in syllables
_ENTRIES = 30_522  # as BERT's vocabulary, so that embeddings are as large

#: The most tokens of a text, as BERT reads them.
MAX_LENGTH = 512


@cache
def words() -> list[str]:
    """All words, the commonest first: of one to three syllables, all different."""
    generator = np.random.default_rng(1)
    syllables = _syllables()
    made: dict[str, None] = {}
    while len(made) < _WORDS:
        count = int(generator.choice([1, 2, 3], p=[0.15, 0.55, 0.3]))
        chosen = generator.integers(0, len(syllables), count)
        made["".join(syllables[index] for index in chosen)] = None
    return list(made)


@cache
def weights() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """How often each word is used, as a share: Zipf's law."""
    ranks = np.arange(1, _WORDS + 1) + 2.7
    return np.asarray(1 / ranks / (1 / ranks).sum())


@cache
def tokenizer() -> transformers.PreTrainedTokenizerBase:
    """BERT's own WordPiece tokenizer, in Rust, with a vocabulary of this language."""
    letters = sorted(set("".join(words()))) + list(".,!?'-0123456789")
    pieces = [*letters, *_syllables(), *words()[:_WHOLE]]
    continued = [f"##{piece}" for piece in (*letters, *_syllables())]
    entries = dict.fromkeys([*_SPECIAL, *pieces, *continued])
    unused = (f"[unused{number}]" for number in itertools.count())
    while len(entries) < _ENTRIES:
        entries[next(unused)] = None
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    made = transformers.BertTokenizerFast(vocab=vocabulary)
    made.model_max_length = MAX_LENGTH
    return made


@cache
def _syllables() -> list[str]:
    return ["".join(parts) for parts in itertools.product(_ONSETS, _NUCLEI, _CODAS)]
