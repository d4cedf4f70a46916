"""Locations: where a source is, on this machine, behind a URL, or on standard input."""

from __future__ import annotations

import hashlib
import select
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast
from urllib.parse import urlsplit

import fsspec
from fsspec.core import url_to_fs

from labelmill.core.errors import ConfigurationError, SourceError

_ENDS = 64 * 1024  # bytes at the beginning and the end of a file that tell it from another


class Location(ABC):
    """One file to read.

    Attributes:
        name: to be shown.
        size: in bytes; None where it is not known.
    """

    name: str
    size: int | None

    @abstractmethod
    def open(self) -> BinaryIO:
        """Its bytes from the beginning.

        Raises:
            SourceError: it cannot be opened.
        """

    @abstractmethod
    def fingerprint(self) -> str | None:
        """Something that is another when the content is; None where nothing can be known.

        Raises:
            SourceError: it cannot be read.
        """

    @abstractmethod
    def sibling(self, name: str) -> str:
        """The address of a file that this one names, relative to itself."""

    @property
    def suffixes(self) -> list[str]:
        """The suffixes of its name in lower case, without those of compressions."""
        return suffixes_of(self.name)


def suffixes_of(name: str) -> list[str]:
    """The suffixes of a path or a URL in lower case, without those of compressions."""
    suffixes = [each.lower() for each in Path(urlsplit(name).path).suffixes]
    return [each for each in suffixes if each not in _COMPRESSIONS]


_COMPRESSIONS = {".gz", ".bz2", ".xz", ".lzma", ".zst", ".zstd", ".zip"}


class LocalFile(Location):
    """A file of this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        self.size = path.stat().st_size if path.is_file() else None

    def open(self) -> BinaryIO:
        with _named(self.name):
            return self.path.open("rb")

    def fingerprint(self) -> str | None:
        if self.size is None:  # a pipe, which would be empty afterwards
            return None
        with self.open() as file:
            return f"{self.path.stat().st_mtime_ns}:{_ends(file, self.size)}"

    def sibling(self, name: str) -> str:
        return name if "://" in name else str((self.path.parent / name).absolute())


class RemoteFile(Location):
    """A file behind a URL that fsspec knows."""

    def __init__(self, url: str) -> None:
        self.name = shown_url(url)
        with _named(self.name):
            self._fs, self._path = url_to_fs(url)
            info: dict[str, Any] = self._fs.info(self._path)
        self.size = info.get("size")
        self._changed = next(
            (str(info[key]) for key in ("ETag", "etag", "LastModified", "mtime") if info.get(key)),
            "",
        )

    def open(self) -> BinaryIO:
        with _named(self.name):
            return cast("BinaryIO", self._fs.open(self._path, "rb"))

    def fingerprint(self) -> str | None:
        if self.size is None:
            return None
        with self.open() as file, _named(self.name):
            return f"{self._changed}:{_ends(file, self.size)}"

    def sibling(self, name: str) -> str:
        if "://" in name:
            return name
        folder = self._path.rpartition("/")[0]
        return str(self._fs.unstrip_protocol(f"{folder}/{name}"))


class StandardInput(Location):
    """What is piped in; it can be read once, and nothing tells whether it is the same again."""

    name = "standard input"
    size = None

    def __init__(self, stream: IO[bytes] | None = None) -> None:
        self._stream = stream

    def open(self) -> BinaryIO:
        if self._stream is not None:
            return cast("BinaryIO", self._stream)
        if sys.stdin is None:
            raise SourceError("standard input is closed; pipe something in, or name a file")
        return cast("BinaryIO", sys.stdin.buffer)

    def has_more(self, seconds: float) -> bool:
        """Whether something more, or its end, comes within that time."""
        try:
            readable, _, _ = select.select([self.open()], [], [], seconds)
        except (OSError, ValueError):  # no file of the system's
            return True
        return bool(readable)

    def fingerprint(self) -> str | None:
        return None

    def sibling(self, name: str) -> str:
        return name if "://" in name else str(Path(name).absolute())

    @property
    def suffixes(self) -> list[str]:
        return []


class NamedPipe(StandardInput):
    """A pipe with a name, such as a shell's ``<(zcat a.csv.gz)``."""

    def __init__(self, path: Path) -> None:
        with _named(str(path)):
            super().__init__(path.open("rb"))
        self.name = str(path)

    @property
    def suffixes(self) -> list[str]:
        return suffixes_of(self.name)


def is_url(source: str) -> bool:
    """Whether a source is behind a URL."""
    return "://" in source


def shown_url(url: str) -> str:
    """The URL without user, password and query, for messages and for the record."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Failures of opening and reading, as errors that name the source."""
    try:
        yield
    except FileNotFoundError:
        raise SourceError(f"there is no file or folder {name}") from None
    except ImportError as error:
        raise ConfigurationError(f"{name} needs another package: {error}") from error
    except (OSError, ValueError) as error:
        # Its message may repeat the URL, and the URL may hold a password.
        why = error.strerror if isinstance(error, OSError) and error.strerror else ""
        raise SourceError(f"{name} cannot be read: {why or type(error).__name__}") from error


def remote(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system and the path of a URL.

    Raises:
        SourceError: there is nothing, or it does not answer.
        ConfigurationError: a package is missing that its scheme needs.
    """
    with _named(shown_url(url)):
        fs, path = url_to_fs(url)
        return fs, str(path)


def _ends(file: BinaryIO, size: int) -> str:
    digest = hashlib.blake2b(file.read(_ENDS), digest_size=16)
    if size > 2 * _ENDS and file.seekable():
        file.seek(size - _ENDS)
        digest.update(file.read(_ENDS))
    return f"{size}:{digest.hexdigest()}"
