"""The inputs: texts and photographs, made up or the user's own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from labelmill.bench import vocabulary
from labelmill.core.errors import SourceError
from labelmill.sources import images
from labelmill.sources.base import Format
from labelmill.sources.readers import open_source
from labelmill.sources.rows import Row

#: The lengths of made-up texts, in tokens: log-normal with this mean and this spread of the
#: logarithm, like those of messages and reviews, and cut off at what the model reads.
MEAN_TOKENS = 55
SIGMA = 0.75

_SHORTEST = 4  # tokens: the beginning, a word, a full stop, the end
_JPEG_QUALITY = 88


def texts(
    number: int,
    *,
    seed: int = 0,
    mean: float = MEAN_TOKENS,
    longest: int = vocabulary.MAX_LENGTH,
) -> list[str]:
    """Texts of the made-up language, the same ones for a seed.

    Parameters:
        mean: of their lengths in tokens, the two around each text included.
        longest: no text has more tokens.
    """
    generator = np.random.default_rng(seed)
    lengths = generator.lognormal(np.log(mean) - SIGMA**2 / 2, SIGMA, number).round()
    stream = _words(generator)
    return [_text(int(length) - 3, stream) for length in np.clip(lengths, _SHORTEST, longest)]


def own_texts(data: Path, column: str, limit: int) -> list[str]:
    """The first texts of a file.

    Raises:
        SourceError: it cannot be read, or has none.
    """
    found = [str(value) for value in _values(data, column, limit) if value]
    if not found:
        raise SourceError(f"{data} has no texts; name a .csv or .jsonl file with a column of them")
    return found


def photographs(folder: Path, number: int, size: tuple[int, int], seed: int = 0) -> list[Path]:
    """Pictures made up to be as hard to decode as photographs: smooth, with edges and grain.

    Parameters:
        folder: where they are written, as JPEG files.
        size: width and height.
    """
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for index in range(number):
        file = folder / f"{size[0]}x{size[1]}-{index:05}.jpg"
        photograph(generator, size).save(file, quality=_JPEG_QUALITY)
        files.append(file)
    return files


def own_images(data: Path, limit: int) -> list[Path]:
    """The first images of a folder.

    Raises:
        SourceError: it cannot be read, or has none.
    """
    found = [Path(value).resolve() for value in _values(data, images.COLUMN, limit)]
    if not found:
        raise SourceError(f"{data} has no images; name a folder of them")
    return found


def _values(data: Path, column: str, limit: int) -> Iterator[Any]:
    """The first values of a column."""
    rows = (
        item
        for source in open_source(str(data), Format())
        for item in source.rows([column])
        if isinstance(item, Row)
    )
    return (row.values[0] for row in itertools.islice(rows, limit))


def _words(generator: np.random.Generator) -> Iterator[tuple[str, int]]:
    """Words by how often they are used, each with its number of tokens, without end."""
    words = vocabulary.words()
    while True:
        for index in generator.choice(len(words), 10_000, p=vocabulary.weights()).tolist():
            yield words[index], _pieces(words[index])


@cache
def _pieces(word: str) -> int:
    return len(vocabulary.tokenizer().tokenize(word))


def _text(tokens: int, stream: Iterator[tuple[str, int]]) -> str:
    """Words of that many tokens together (or one less where the last does not fit)."""
    chosen: list[str] = []
    for word, pieces in stream:
        if pieces > tokens:
            break
        chosen.append(word)
        tokens -= pieces
        if not tokens:
            break
    return " ".join(chosen or ["a"]).capitalize() + "."


def photograph(generator: np.random.Generator, size: tuple[int, int]) -> PIL.Image.Image:
    """One such picture, in memory."""
    width, height = size
    picture = np.zeros((height, width, 3), dtype=np.float32)
    for scale, strength in ((4, 0.5), (16, 0.3), (64, 0.2)):
        coarse = generator.integers(0, 256, (scale, scale, 3), dtype=np.uint8)
        smooth = PIL.Image.fromarray(coarse).resize(size, PIL.Image.Resampling.BICUBIC)
        picture += strength * np.asarray(smooth, dtype=np.float32)
    picture += generator.normal(0, 6, (height, width, 1)).astype(np.float32)
    return PIL.Image.fromarray(picture.clip(0, 255).astype(np.uint8))
