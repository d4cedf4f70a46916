"""Pictures: thumbnails of jobs' images as data: URIs, as far as they can be read here."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from labelmill.core.errors import JobError
from labelmill.core.job import Image, SubmittedJob
from labelmill.media.thumbnail import thumbnail
from labelmill.media.uploads import UploadStore, is_upload

_MAX_FILE_BYTES = 20 * 1024 * 1024


class Pictures:
    """Makes thumbnails until there are enough.

    Nothing is fetched over a network: a report must not call the hosts that jobs name. Nor is any
    file of this machine shown to whoever reads it because a job names it.

    Parameters:
        uploads: the store of uploaded images.
        most: how many thumbnails to make.
        max_bytes: of all thumbnails together.
        folders: those whose files may be shown, also in folders below them.
    """

    def __init__(
        self, uploads: UploadStore, *, most: int, max_bytes: int, folders: Sequence[Path] = ()
    ) -> None:
        self._uploads = uploads
        self._folders = [each.resolve() for each in folders]
        self._left = most
        self._bytes_left = max_bytes

    def of(self, job: SubmittedJob | None) -> str | None:
        """The thumbnail of a job's image; None for a text, or where it cannot be had."""
        image = job.payload.get("image") if job is not None else None
        if not isinstance(image, dict) or self._left <= 0:
            return None
        try:
            content = self._content(image.get("uri"), image.get("base64"))
            small = thumbnail(content) if content is not None else None
        except (JobError, OSError, ValueError):
            return None
        if small is None or len(small) > self._bytes_left:
            return None
        self._left -= 1
        self._bytes_left -= len(small)
        return f"data:image/webp;base64,{base64.b64encode(small).decode()}"

    def _content(self, uri: object, inline: object) -> bytes | None:
        if isinstance(inline, str):
            return Image(base64=inline).inline_bytes()
        if not isinstance(uri, str):
            return None
        if is_upload(uri):
            return self._uploads.get(uri, _MAX_FILE_BYTES)
        name = uri.removeprefix("file://")
        if "://" in name:
            return None
        path = Path(name).resolve()
        if not any(path.is_relative_to(each) for each in self._folders):
            return None
        # Not a device or a pipe, which might never end.
        if not path.is_file() or path.stat().st_size > _MAX_FILE_BYTES:
            return None
        return path.read_bytes()
