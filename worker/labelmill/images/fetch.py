"""Fetching: from an image reference to the bytes of a file."""

from __future__ import annotations

import re
from pathlib import Path

import fsspec

from labelmill.core.errors import ConfigurationError, ErrorCode, JobError
from labelmill.core.job import Image
from labelmill.core.settings import EngineSettings
from labelmill.images.local import LocalImages
from labelmill.images.web.fetch import WebFetcher
from labelmill.images.web.hosts import HostAllowlist
from labelmill.media.files import too_large
from labelmill.media.uploads import UploadStore, is_upload

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_WEB = re.compile(r"https?:", re.IGNORECASE)
# These have settings of their own, which say how far they reach.
_REFUSED_SCHEMES = {"http", "https", "ftp", "local"}


class ImageFetcher:
    """Reads images from where their references say, as far as that was allowed.

    Parameters:
        root: the folder under which local uris may lie; None refuses them all.
        schemes: remote schemes that uris may have, read through fsspec.
        max_bytes: the largest file that is read.
        uploads: where uploads are kept; None refuses them all.
        web: what fetches http and https; None refuses them all.

    Raises:
        ConfigurationError: the root is no folder, or a scheme is one that is never allowed.
    """

    def __init__(
        self,
        root: Path | None,
        schemes: tuple[str, ...],
        max_bytes: int,
        uploads: UploadStore | None = None,
        web: WebFetcher | None = None,
    ) -> None:
        if refused := sorted(_REFUSED_SCHEMES.intersection(schemes)):
            raise ConfigurationError(
                f"LABELMILL_IMAGE_SCHEMES: {', '.join(refused)} cannot be allowed; allow the web's "
                "hosts with LABELMILL_IMAGE_HOSTS, or put the images under the image root or into "
                "an object store"
            )
        self._local = LocalImages(root, max_bytes) if root else None
        self._schemes = frozenset(schemes)
        self._max_bytes = max_bytes
        self._uploads = uploads
        self._web = web

    def is_remote(self, image: Image) -> bool:
        """Whether fetching it may mean to wait for another machine."""
        if image.uri is None:
            return False
        scheme = _SCHEME.match(image.uri)
        return is_upload(image.uri) or (scheme is not None and scheme[1] != "file")

    def fetch(self, image: Image) -> bytes:
        """The bytes of the image's file.

        Raises:
            JobError: it is not allowed, not there, too large, or cannot be read.
        """
        if image.uri is None:
            return image.inline_bytes()
        if is_upload(image.uri):
            return self._read_upload(image.uri)
        if _WEB.match(image.uri):
            return self._read_web(image.uri)
        scheme = _SCHEME.match(image.uri)
        if scheme is None or scheme[1] == "file":
            return self._read_local(image.uri.removeprefix("file://"))
        if scheme[1] not in self._schemes or "::" in image.uri:  # a chain leads anywhere
            raise JobError(
                ErrorCode.IMAGE_FORBIDDEN,
                f"this worker does not read {scheme[1]}:// images; "
                "its operator allows schemes with LABELMILL_IMAGE_SCHEMES",
            )
        return self._read_object(image.uri, scheme[1])

    def _read_upload(self, uri: str) -> bytes:
        if self._uploads is None:
            raise JobError(
                ErrorCode.IMAGE_FORBIDDEN,
                "this worker reads no uploads; its operator sets LABELMILL_UPLOAD_STORE",
            )
        return self._uploads.get(uri, self._max_bytes)

    def _read_web(self, uri: str) -> bytes:
        if self._web is None:
            raise JobError(
                ErrorCode.IMAGE_FORBIDDEN,
                "this worker fetches nothing over http; its operator allows hosts with "
                "LABELMILL_IMAGE_HOSTS",
            )
        return self._web.fetch(uri)

    def _read_local(self, path: str) -> bytes:
        if self._local is None:
            raise JobError(
                ErrorCode.IMAGE_FORBIDDEN,
                "this worker reads no local images; its operator sets LABELMILL_IMAGE_ROOT",
            )
        return self._local.read(path)

    def _read_object(self, uri: str, scheme: str) -> bytes:
        # The errors of file systems may quote the uri: none is chained.
        try:
            with fsspec.open(uri, "rb") as file:
                content = file.read(self._max_bytes + 1)
        except FileNotFoundError:
            raise JobError(ErrorCode.IMAGE_NOT_FOUND, f"there is no such {scheme} object") from None
        except Exception as error:  # each file system has errors of its own
            raise JobError(
                ErrorCode.IMAGE_UNREADABLE, f"the image cannot be fetched ({type(error).__name__})"
            ) from None
        if len(content) > self._max_bytes:
            raise too_large(self._max_bytes)
        return bytes(content)


def image_fetcher(settings: EngineSettings) -> ImageFetcher:
    """The fetcher that a worker's settings ask for.

    Raises:
        ConfigurationError: one of them cannot be used.
    """
    web = None
    if settings.image_hosts:
        hosts = HostAllowlist.parse(settings.image_hosts)
        web = WebFetcher(hosts, settings.max_image_bytes, settings.image_timeout)
    return ImageFetcher(
        settings.image_root,
        settings.image_schemes,
        settings.max_image_bytes,
        UploadStore.open(settings.upload_store),
        web,
    )
