"""Local images: files under one folder, and nothing beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labelmill.core.errors import ConfigurationError, ErrorCode, JobError
from labelmill.media.files import no_such_file, read_regular_file

# With O_PATH, where there is one, a folder need not be listable.
_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)


class LocalImages:
    """Reads images under a root.

    Links are followed if they end under the root. The path that they lead to is then walked folder
    by folder, following none: one that is put there after the check leads nowhere.

    Parameters:
        root: the folder; it may itself be reached by links.
        max_bytes: the largest file that is read.

    Raises:
        ConfigurationError: the root is no folder.
    """

    def __init__(self, root: Path, max_bytes: int) -> None:
        if not root.is_dir():
            raise ConfigurationError(f"LABELMILL_IMAGE_ROOT: {root} is not a folder")
        self._root = root.resolve()
        self._max_bytes = max_bytes

    def read(self, path: str) -> bytes:
        """The content of a regular file.

        Parameters:
            path: absolute, or relative to the root.

        Raises:
            JobError: it leads out of the root, or there is no such file, or it is too large or
                cannot be read.
        """
        try:
            resolved = (self._root / path).resolve()
            if not resolved.is_relative_to(self._root):
                raise JobError(
                    ErrorCode.IMAGE_FORBIDDEN,
                    "the image is not under the worker's image root; put it there, or send its "
                    "bytes (labelmill submit --inline)",
                )
            return self._walk(resolved.relative_to(self._root).parts)
        except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a link to itself
            raise JobError(
                ErrorCode.IMAGE_UNREADABLE, f"the image cannot be read ({type(error).__name__})"
            ) from None

    def _walk(self, parts: tuple[str, ...]) -> bytes:
        if not parts:
            raise no_such_file()
        *folders, name = parts
        with _descended(self._root, folders) as folder:
            return read_regular_file(name, self._max_bytes, folder=folder)


@contextmanager
def _descended(root: Path, folders: list[str]) -> Iterator[int]:
    """The descriptor of a folder under the root, reached without following a link."""
    folder = os.open(root, _FOLDER)
    try:
        for name in folders:
            try:
                below = os.open(name, _FOLDER, dir_fd=folder)
            except (FileNotFoundError, NotADirectoryError):
                raise no_such_file() from None
            os.close(folder)
            folder = below
        yield folder
    finally:
        os.close(folder)
