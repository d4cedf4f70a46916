"""Fetching: from an image reference to the bytes of a file."""

from __future__ import annotations

import re
from pathlib import Path

import fsspec

from db.errors import ConfigurationError, ErrorCode, JobError
from producer.contract.job import Image
from producer.contract.uploads import UploadStore, is_upload

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# Fetching from any address that a stranger names needs more care than a list of schemes.
_REFUSED_SCHEMES = {"http", "https", "ftp", "local"}


class ImageFetcher:
    """Reads images from one local folder, uploads, and from the remote schemes that were allowed.

    Parameters:
        root: the folder under which local uris may lie; None refuses them all.
        schemes: remote schemes that uris may have, read through fsspec.
        max_bytes: the largest file that is read.
        uploads: where uploads are kept; None refuses them all.

    Raises:
        ConfigurationError: the root is no folder, or a scheme is one that is never allowed.
    """

    def __init__(
        self,
        root: Path | None,
        schemes: tuple[str, ...],
        max_bytes: int,
        uploads: UploadStore | None = None,
    ) -> None:
        if root is not None and not root.is_dir():
            raise ConfigurationError(f"LABELMILL_IMAGE_ROOT: {root} is not a folder")
        if refused := sorted(_REFUSED_SCHEMES.intersection(schemes)):
            raise ConfigurationError(
                f"LABELMILL_IMAGE_SCHEMES: {', '.join(refused)} cannot be allowed; "
                "put the images under the image root or into an object store"
            )
        self._root = root.resolve() if root else None
        self._schemes = frozenset(schemes)
        self._max_bytes = max_bytes
        self._uploads = uploads

    def fetch(self, image: Image) -> bytes:
        """The bytes of the image's file.

        Raises:
            JobError: it is not allowed, not there, too large, or cannot be read.
        """
        if image.uri is None:
            return image.inline_bytes()
        if is_upload(image.uri):
            return self._upload(image.uri)
        scheme = _SCHEME.match(image.uri)
        if scheme is None or scheme[1] == "file":
            return self._local(image.uri.removeprefix("file://"))
        if scheme[1] not in self._schemes or "::" in image.uri:  # a chain leads anywhere
            raise JobError(
                ErrorCode.IMAGE_FORBIDDEN,
                f"this worker does not read {scheme[1]}:// images; "
                "its operator allows schemes with LABELMILL_IMAGE_SCHEMES",
            )
        return self._remote(image.uri, scheme[1])

    def _upload(self, uri: str) -> bytes:
        if self._uploads is None:
            raise JobError(
                ErrorCode.IMAGE_FORBIDDEN,
                "this worker reads no uploads; its operator sets LABELMILL_UPLOAD_STORE",
            )
        return self._uploads.get(uri, self._max_bytes)

    def _local(self, uri: str) -> bytes:
        if self._root is None:
            raise JobError(
                ErrorCode.IMAGE_FORBIDDEN,
                "this worker reads no local images; its operator sets LABELMILL_IMAGE_ROOT",
            )
        try:
            # Links are followed first, so that none leads out of the root.
            path = (self._root / uri).resolve()
            if not path.is_relative_to(self._root):
                raise JobError(
                    ErrorCode.IMAGE_FORBIDDEN,
                    "the image is not under the worker's image root; put it there, or send its "
                    "bytes (labelmill submit --inline)",
                )
            if not path.is_file():
                raise JobError(ErrorCode.IMAGE_NOT_FOUND, "there is no such file to read")
            if path.stat().st_size > self._max_bytes:
                raise self._too_large()
            return path.read_bytes()
        except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a link to itself
            raise _unreadable(error) from error

    def _remote(self, uri: str, scheme: str) -> bytes:
        try:
            with fsspec.open(uri, "rb") as file:
                content = file.read(self._max_bytes + 1)
        except FileNotFoundError as error:
            raise JobError(
                ErrorCode.IMAGE_NOT_FOUND, f"there is no such {scheme} object"
            ) from error
        except Exception as error:  # each file system has errors of its own
            raise _unreadable(error) from error
        if len(content) > self._max_bytes:
            raise self._too_large()
        return bytes(content)

    def _too_large(self) -> JobError:
        return JobError(
            ErrorCode.IMAGE_TOO_LARGE,
            f"an image file is limited to {self._max_bytes:,} bytes; make it smaller",
        )


def _unreadable(error: Exception) -> JobError:
    return JobError(
        ErrorCode.IMAGE_UNREADABLE, f"the image cannot be fetched ({type(error).__name__})"
    )
