"""Images: a folder tree of them, or one file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from labelmill.core.names import short_name
from labelmill.sources.base import Column, Kind, Source
from labelmill.sources.columns import IMAGE_SUFFIXES
from labelmill.sources.location import remote, shown_url
from labelmill.sources.rows import Item, Reason, Reject, Row

COLUMN = "image"


class ImageFolder(Source):
    """All images under a folder of this machine, in the order of their names, hidden ones not.

    Links are followed, but into no folder twice.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self._folder = folder
        self._unreadable: list[OSError] = []
        self._count: int | None = None

    def columns(self) -> Sequence[Column]:
        """The one there is."""
        return [Column(COLUMN, Kind.IMAGE)]

    def rows(self, wanted: Sequence[str]) -> Iterator[Item]:
        """The absolute path of each."""
        self._unreadable = []
        number = 0
        for number, path in enumerate(self._files(), start=1):
            if self._count:
                self.reading.fraction = number / self._count
            yield Row(number, None, (path,) * len(wanted))
        for error in self._unreadable:
            why = f"the folder {printable(str(error.filename))} cannot be read: {error.strerror}"
            yield Reject(number + 1, None, Reason.UNREADABLE, why, rows=0)

    def count(self) -> int:
        """By looking at all names."""
        if self._count is None:
            self._count = sum(1 for _ in self._files())
        return self._count

    def fingerprint(self) -> str:
        """Another one where a name is, or is at another place."""
        digest = hashlib.blake2b(digest_size=16)
        count = 0
        for path in self._files():
            digest.update(os.fsencode(path) + b"\0")
            count += 1
        self._count = count
        return f"{count}:{digest.hexdigest()}"

    def image_name(self, value: str) -> str | None:
        """Its path in the folder."""
        return short_name(os.path.relpath(value, os.path.realpath(self._folder)))

    def _files(self) -> Iterator[str]:
        return self._walk(os.path.realpath(self._folder), set())

    def _walk(self, folder: str, seen: set[tuple[int, int]]) -> Iterator[str]:
        try:
            status = Path(folder).stat()
            if (status.st_dev, status.st_ino) in seen:
                return
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as found:
                entries = sorted(
                    (each for each in found if not each.name.startswith(".")),
                    key=lambda each: each.name,
                )
        except OSError as error:
            self._unreadable.append(error)
            return
        for entry in entries:
            if _is(entry.is_dir):
                yield from self._walk(entry.path, seen)
            elif Path(entry.name).suffix.lower() in IMAGE_SUFFIXES and _is(entry.is_file):
                yield entry.path


class ImageFile(Source):
    """One image by itself."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def columns(self) -> Sequence[Column]:
        """The one there is."""
        return [Column(COLUMN, Kind.IMAGE)]

    def rows(self, wanted: Sequence[str]) -> Iterator[Item]:
        """Its absolute path."""
        yield Row(1, None, (str(self._path.resolve()),) * len(wanted))

    def count(self) -> int:
        """One."""
        return 1


class RemoteImages(Source):
    """All images under a folder behind a URL, as URLs; the worker fetches them."""

    def __init__(self, url: str) -> None:
        super().__init__(shown_url(url))
        fs, path = remote(url)
        self._urls = [
            str(fs.unstrip_protocol(each))
            for each in sorted(fs.find(path))
            if Path(each).suffix.lower() in IMAGE_SUFFIXES
        ]

    def columns(self) -> Sequence[Column]:
        """The one there is."""
        return [Column(COLUMN, Kind.IMAGE)]

    def rows(self, wanted: Sequence[str]) -> Iterator[Item]:
        """The URL of each."""
        for number, url in enumerate(self._urls, start=1):
            yield Row(number, None, (url,) * len(wanted))

    def count(self) -> int:
        """As the listing says."""
        return len(self._urls)

    def fingerprint(self) -> str:
        """Another one where a name is."""
        digest = hashlib.blake2b("\0".join(self._urls).encode(errors="replace"), digest_size=16)
        return f"{len(self._urls)}:{digest.hexdigest()}"


def printable(name: str) -> str:
    """A name with what cannot be shown escaped, on one line."""
    return name.encode("utf-8", "backslashreplace").decode().replace("\n", "\\n")


def _is(ask: object) -> bool:
    try:
        return bool(ask())  # type: ignore[operator]
    except OSError:  # a link in a circle
        return False
