"""Compression: told by the first bytes of a file, whatever its name says."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from labelmill.core.errors import ConfigurationError, SourceError

#: What the decompressors raise where a file is damaged or ends too soon.
READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)

_LONGEST_MAGIC = 6
_BUFFER = 256 * 1024


class Rewound(io.RawIOBase):
    """A stream whose beginning was read already, from the beginning again."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head = memoryview(head)
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer as far as one read does."""
        if self._head:
            some = self._head[: len(buffer)]
            self._head = self._head[len(some) :]
        else:
            # What there is: of a slow pipe nobody waits for a full buffer.
            read = getattr(self._stream, "read1", self._stream.read)
            some = memoryview(read(len(buffer)))
        buffer[: len(some)] = some
        return len(some)

    def close(self) -> None:
        self._stream.close()
        super().close()


@contextmanager
def content_of(raw: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """The content of a file, as :func:`decompressed`; both are closed at the end."""
    with raw, decompressed(raw, name) as content:
        yield content


def decompressed(stream: BinaryIO, name: str) -> BinaryIO:
    """The content of a stream that may be compressed with gzip, bzip2, xz, zstd or zip.

    Raises:
        SourceError: it is a zip archive of more than one file, or damaged at its beginning.
        ConfigurationError: a package is missing that its compression needs.
    """
    if stream.seekable():
        magic = stream.read(_LONGEST_MAGIC)
        stream.seek(0)
    else:
        magic = read_fully(stream, _LONGEST_MAGIC)
        stream = cast("BinaryIO", io.BufferedReader(Rewound(magic, stream), _BUFFER))
    if magic.startswith(b"\x1f\x8b"):
        return cast("BinaryIO", gzip.GzipFile(fileobj=stream))
    if magic.startswith(b"BZh"):
        return cast("BinaryIO", bz2.BZ2File(stream))
    if magic.startswith(b"\xfd7zXZ\x00"):
        return cast("BinaryIO", lzma.LZMAFile(stream))
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        return _zstd(stream)
    if magic.startswith(b"PK\x03\x04"):
        return _zip(stream, name)
    return stream


def read_fully(stream: BinaryIO, size: int) -> bytes:
    """So many bytes, or all where there are fewer."""
    return b"".join(_parts(stream, size))


def read_first(stream: BinaryIO, size: int) -> bytes:
    """So many bytes, or all that can be read, where that is at least something.

    Raises:
        OSError, …: ``READ_ERRORS``, where nothing can.
    """
    parts: list[bytes] = []
    try:
        parts.extend(_parts(stream, size))
    except READ_ERRORS:
        if not parts:
            raise
    return b"".join(parts)


def _parts(stream: BinaryIO, size: int) -> Iterator[bytes]:
    # Piece by piece: a read that fails gives nothing of what it has read.
    read = getattr(stream, "read1", stream.read)
    while size > 0 and (part := read(size)):
        yield part
        size -= len(part)


def _zstd(stream: BinaryIO) -> BinaryIO:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise ConfigurationError(
            "zstd is read by pyarrow; pip install 'labelmill[bulk]'"
        ) from error
    content = pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd")
    return cast("BinaryIO", io.BufferedReader(Rewound(b"", content), _BUFFER))


def _zip(stream: BinaryIO, name: str) -> BinaryIO:
    if not stream.seekable():
        raise SourceError(f"{name} is a zip archive, which cannot be read from a pipe; unpack it")
    try:
        archive = zipfile.ZipFile(stream)
        members = [
            each
            for each in archive.infolist()
            if not each.is_dir() and not each.filename.startswith(("__MACOSX/", "."))
        ]
        if len(members) != 1:
            raise SourceError(
                f"{name} is a zip archive of {len(members):,} files; unpack it and name one"
            )
        return cast("BinaryIO", archive.open(members[0]))
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise SourceError(f"{name} cannot be unpacked: {error}") from error
