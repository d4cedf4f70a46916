"""The upload store: files that were uploaded, addressed by their content.

A job carries a reference, ``upload:sha256/<64 hexadecimal digits>``, and never the bytes. Whoever
takes uploads and the workers that read them share one store, a folder or any URL of fsspec. What is
read is checked against its address, so a damaged or exchanged file is never taken for another.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import fsspec
from fsspec.core import url_to_fs

from labelmill.core.errors import ConfigurationError, ErrorCode, JobError, UploadStoreUnavailable
from labelmill.media.files import read_regular_file, too_large

_PREFIX = "upload:"
_URI = re.compile(r"upload:sha256/([0-9a-f]{64})")


def is_upload(uri: str) -> bool:
    """Whether the uri means an upload, be it well-formed or not."""
    return uri.startswith(_PREFIX)


class UploadStore:
    """Bytes by the hash of them; what was put is never changed.

    Parameters:
        backend: where the files are kept.
    """

    def __init__(self, backend: _Backend) -> None:
        self._backend = backend

    @classmethod
    def open(cls, url: str) -> Self:
        """The store of a folder, or of a URL of fsspec such as ``s3://bucket/uploads``.

        Nothing is created before something is put.

        Raises:
            ConfigurationError: the path is no folder, or the URL's file system is not installed.
        """
        protocol, found, path = url.partition("://")
        if not found or protocol == "file":
            return cls(_Folder(Path(path if found else url)))
        try:
            files, base = url_to_fs(url)
        except Exception as error:  # each file system has errors of its own; they may quote the URL
            raise ConfigurationError(
                f"LABELMILL_UPLOAD_STORE: the {protocol}:// store cannot be opened "
                f"({type(error).__name__}); install the fsspec package for it, or name a folder"
            ) from None
        return cls(_Objects(files, base))

    def put(self, content: bytes) -> str:
        """Keep the bytes, whole or not at all, and return their uri.

        Raises:
            UploadStoreUnavailable: the store cannot be written.
        """
        digest = hashlib.sha256(content).hexdigest()
        try:
            self._backend.write(_name(digest), content)
        except Exception as error:  # each file system has errors of its own; they may quote the URL
            raise UploadStoreUnavailable(
                f"the upload store cannot be written ({type(error).__name__}); see that it is "
                "there, that it has room, and that this process may write to it"
            ) from None
        return f"{_PREFIX}sha256/{digest}"

    def get(self, uri: str, max_bytes: int) -> bytes:
        """The bytes of an upload.

        Raises:
            JobError: the uri is not one of :meth:`put`, or what it names is not there, has more
                than ``max_bytes``, is damaged, or cannot be read.
        """
        address = _URI.fullmatch(uri)
        if address is None:
            raise JobError(
                ErrorCode.INVALID_JOB,
                "an upload's uri is upload:sha256/ and 64 hexadecimal digits; send what the "
                "upload was answered with",
            )
        try:
            content = self._backend.read(_name(address[1]), max_bytes)
        except FileNotFoundError:
            raise _not_found() from None
        except JobError as error:
            raise (_not_found() if error.code == ErrorCode.IMAGE_NOT_FOUND else error) from None
        except Exception as error:  # each file system has errors of its own
            raise JobError(
                ErrorCode.IMAGE_UNREADABLE, f"the upload cannot be read ({type(error).__name__})"
            ) from None
        if hashlib.sha256(content).hexdigest() != address[1]:
            raise JobError(
                ErrorCode.IMAGE_UNREADABLE, "the upload is damaged in its store; upload it again"
            )
        return content


class _Backend(ABC):
    """Files by name; a name has one folder in it."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Write a file such that nobody ever reads a part of it."""

    @abstractmethod
    def read(self, name: str, max_bytes: int) -> bytes:
        """Read a file of at most that many bytes."""


class _Folder(_Backend):
    def __init__(self, root: Path) -> None:
        if root.exists() and not root.is_dir():
            raise ConfigurationError(f"LABELMILL_UPLOAD_STORE: {root} is not a folder")
        self._root = root.absolute()

    def write(self, name: str, content: bytes) -> None:
        path = self._root / name
        if self._holds(name, content):
            return
        _make_folder(path.parent)
        new = path.with_name(f".{secrets.token_hex(16)}")
        try:
            with new.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)

    def read(self, name: str, max_bytes: int) -> bytes:
        return read_regular_file(self._root / name, max_bytes)

    def _holds(self, name: str, content: bytes) -> bool:
        try:
            return self.read(name, len(content)) == content
        except (JobError, OSError):
            return False  # to be written, or to fail with an error that says why


class _Objects(_Backend):
    def __init__(self, files: fsspec.AbstractFileSystem, base: str) -> None:
        self._files: Any = files
        self._base = base.rstrip("/")

    def write(self, name: str, content: bytes) -> None:
        path = f"{self._base}/{name}"
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(path, content)

    def read(self, name: str, max_bytes: int) -> bytes:
        with self._files.open(f"{self._base}/{name}", "rb") as file:
            content = bytes(file.read(max_bytes + 1))
        if len(content) > max_bytes:
            raise too_large(max_bytes)
        return content


def _name(digest: str) -> str:
    """One of 256 folders, since a folder of a million files is slow to list, and the digest."""
    return f"{digest[:2]}/{digest}"


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that they outlast a crash of the machine."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_found() -> JobError:
    return JobError(
        ErrorCode.IMAGE_NOT_FOUND,
        "there is no such upload; the worker's LABELMILL_UPLOAD_STORE has to be the one that it "
        "was uploaded to",
    )
