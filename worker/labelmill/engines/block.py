"""The block: all numbers that a packed pass reads, in one piece of memory and so in one copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from labelmill.engines.tokens import Encoding
from labelmill.engines.transfer import Transfer


class Block:
    """Texts end to end, on the device.

    Attributes:
        lengths: of the texts, in tokens.
        inputs: the rows of the texts' encodings and their positions; int64, shape ``[1, tokens]``
            each. Some architectures take no narrower indices.
        bounds: where each text begins, and where the last ends; int32, shape ``[texts + 1]``.
        firsts: where each text begins; int64, shape ``[texts]``.
        lasts: where a decoder's head looks in each text, likewise.
    """

    def __init__(self, lengths: Sequence[int], rows: int, sent: torch.Tensor) -> None:
        texts, tokens = len(lengths), sum(lengths)
        wide = sent.long()
        self.lengths = lengths
        self.inputs = wide[: rows * tokens].view(rows, 1, tokens).unbind()
        self.bounds = sent[rows * tokens :][: texts + 1]
        self.firsts = wide[rows * tokens :][:texts]
        self.lasts = wide[-texts:]

    @classmethod
    def of(
        cls, texts: Sequence[Encoding], transfer: Transfer, first_position: int, padding: int | None
    ) -> Self:
        """Lay the texts end to end and send them.

        Parameters:
            transfer: brings the block to the device.
            first_position: the position of a text's first token.
            padding: the id of the padding token, which a text may hold all the same.
        """
        lengths = [text.shape[1] for text in texts]
        number, tokens, rows = len(texts), sum(lengths), len(texts[0]) + 1
        host = transfer.host([rows * tokens + 2 * number + 1], torch.int32)
        numbers = host.numpy()
        inputs = numbers[: rows * tokens].reshape(rows, tokens)
        bounds = numbers[rows * tokens :][: number + 1]
        np.concatenate(texts, axis=1, out=inputs[:-1])
        bounds[0] = 0
        np.cumsum(lengths, out=bounds[1:])
        inputs[-1] = _positions(inputs[0], bounds, first_position, padding)
        numbers[-number:] = _last_tokens(inputs[0], bounds, padding)
        return cls(lengths, rows, transfer.send(host))


def _positions(
    ids: Encoding, bounds: Encoding, first: int, padding: int | None
) -> npt.NDArray[np.integer]:
    """The position of each token in its text."""
    lengths = np.diff(bounds)
    if not first or padding is None or not (is_padding := ids == padding).any():
        return np.arange(first, first + len(ids)) - np.repeat(bounds[:-1], lengths)
    # Models that count from behind padding (RoBERTa) do not count it within a text either.
    counts = np.cumsum(~is_padding)
    before = np.concatenate([[0], counts])[bounds[:-1]]
    positions: npt.NDArray[np.integer] = counts - np.repeat(before, lengths) + first - 1
    positions[is_padding] = padding
    return positions


def _last_tokens(ids: Encoding, bounds: Encoding, padding: int | None) -> npt.NDArray[np.integer]:
    """Where a decoder's head looks: at each text's last token that is not its padding."""
    if padding is None or not (is_padding := ids == padding).any():
        return bounds[1:] - 1
    places = np.where(is_padding, -1, np.arange(len(ids)))
    return np.maximum(np.maximum.reduceat(places, bounds[:-1]), bounds[:-1])
