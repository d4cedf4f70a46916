"""Text files: their lines, decoded, with a bound on their length."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import BinaryIO, NamedTuple, TextIO, cast

from labelmill.core.errors import SourceError
from labelmill.sources.base import Format, Reading
from labelmill.sources.compression import (  # fmt: skip
    READ_ERRORS,
    Rewound,
    content_of,
    decompressed,
    read_first,
)
from labelmill.sources.encoding import Encoding, guess_encoding, named_encoding
from labelmill.sources.location import Location, StandardInput

#: Characters of a line, its end included; of a longer one the rest is passed over.
MAX_LINE = 16 * 1024 * 1024

_SAMPLE_BYTES = 256 * 1024
_MOMENT_SECONDS = 1.0
_COUNT_EVERY = 1000  # lines, between two looks at how far the file is read


class Line(NamedTuple):
    """A line with its end, its number from 1, and whether it was cut off."""

    number: int
    text: str
    cut: bool = False


class Text:
    """A file of text, compressed or not.

    Attributes:
        reading: how far it is read.
    """

    def __init__(self, location: Location, form: Format, reading: Reading) -> None:
        self._location = location
        self._form = form
        self.reading = reading
        self._stream: BinaryIO | None = None

    @cached_property
    def sample(self) -> bytes:
        """The first bytes of the content.

        Raises:
            SourceError: it cannot be read.
        """
        try:
            if isinstance(self._location, StandardInput):
                self._stream = decompressed(self._location.open(), self._location.name)
                return _first_bytes(self._stream, self._location)
            with content_of(self._location.open(), self._location.name) as content:
                return read_first(content, _SAMPLE_BYTES)
        except READ_ERRORS as error:
            raise SourceError(f"{self._location.name} cannot be read: {error}") from error

    @cached_property
    def encoding(self) -> Encoding:
        """As the user has said, or a guess."""
        if self._form.encoding is not None:
            return named_encoding(self._form.encoding)
        return guess_encoding(self.sample)

    def first_lines(self, newline: str) -> list[str]:
        """The lines of the sample, the last only where it is whole."""
        with self._decoded(cast("BinaryIO", io.BytesIO(self.sample)), newline) as text:
            lines = list(text)
        return lines[:-1] if len(self.sample) >= _SAMPLE_BYTES and len(lines) > 1 else lines

    def lines(self, newline: str) -> Iterator[Line]:
        """All lines, with their ends.

        Parameters:
            newline: as of :func:`open`: ``""`` for any end of line, kept as it is.

        Raises:
            SourceError: it cannot be opened.
            OSError, …: ``READ_ERRORS``, where it cannot be read any further.
        """
        with self._opened() as (raw, content), self._decoded(content, newline) as text:
            read = text.readline
            number = 0
            while line := read(MAX_LINE):
                number += 1
                if not number % _COUNT_EVERY:
                    self._look(raw)
                if len(line) < MAX_LINE or line.endswith("\n"):
                    yield Line(number, line)
                    continue
                yield Line(number, line, cut=True)
                while line and not line.endswith(("\n", "\r")):
                    line = read(MAX_LINE)

    @contextmanager
    def _opened(self) -> Iterator[tuple[BinaryIO, BinaryIO]]:
        """The bytes of the file and of its content."""
        if isinstance(self._location, StandardInput):
            sample, stream = self.sample, self._stream
            assert stream is not None  # noqa: S101 - the sample was taken off it
            yield stream, cast("BinaryIO", io.BufferedReader(Rewound(sample, stream)))
            return
        raw = self._location.open()
        with content_of(raw, self._location.name) as content:
            yield raw, content

    def _look(self, raw: BinaryIO) -> None:
        if self._location.size:
            self.reading.fraction = min(1.0, raw.tell() / self._location.size)

    @contextmanager
    def _decoded(self, content: BinaryIO, newline: str) -> Iterator[TextIO]:
        codec, errors, _note = self.encoding
        with io.TextIOWrapper(content, codec, errors, newline) as text:
            yield text


def _first_bytes(content: BinaryIO, pipe: StandardInput) -> bytes:
    """A sample of a pipe; less, where more does not come at once."""
    sample = b""
    read = getattr(content, "read1", content.read)
    while len(sample) < _SAMPLE_BYTES and (part := read(_SAMPLE_BYTES - len(sample))):
        sample += part
        if b"\n" in part and not pipe.has_more(_MOMENT_SECONDS):
            break
    return sample
