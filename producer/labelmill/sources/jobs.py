"""Jobs out of rows: what a row's values must be, and what makes it impossible."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from labelmill.core.errors import JobError, SourceError
from labelmill.core.job import (
    MAX_INLINE_IMAGE_BYTES,
    MAX_TEXT_BYTES,
    MAX_URI_LENGTH,
    check_id,
    job_kwargs,
)
from labelmill.core.json import JsonValue
from labelmill.core.text import REFUSED
from labelmill.media.uploads import UploadStore, is_upload
from labelmill.sources.base import Kind, Source
from labelmill.sources.columns import ColumnMapping
from labelmill.sources.ids import row_id
from labelmill.sources.location import is_url, remote
from labelmill.sources.plan import Plan
from labelmill.sources.rows import Item, Reason, Reject, Unusable


class NewRow(NamedTuple):
    """A row as a job.

    ``number`` is that of the row in the run, ``row`` in its source; ``size`` is about that of its
    message, in bytes.
    """

    number: int
    row: int
    line: int | None
    id: str
    payload: dict[str, JsonValue]
    size: int


Made = NewRow | Reject


@dataclass(frozen=True)
class JobMaker:
    """Makes the jobs of a run.

    Parameters:
        store: where images are uploaded to; None if they are not.
    """

    run: str
    plan: Plan
    chosen: ColumnMapping
    store: UploadStore | None = None

    def make(self, source: Source, items: Iterator[Item], before: int) -> Iterator[Made]:
        """The jobs of a source's rows.

        Parameters:
            before: how many rows of the run are before the first of these.
        """
        content = self._text if self.chosen.kind is Kind.TEXT else self._image
        has_id = self.chosen.id is not None
        for item in items:
            number = before + item.number
            if isinstance(item, Reject):
                yield item
                continue
            try:
                held, size = content(source, item.values[0])
                id = _own_id(item.values[1]) if has_id else row_id(self.run, number)
            except Unusable as error:
                yield Reject(item.number, item.line, error.code, error.message)
            else:
                payload = job_kwargs(**held, top_k=self.plan.top_k, run=self.run)
                yield NewRow(number, item.number, item.line, id, payload, size)

    def _text(self, _source: Source, value: object) -> tuple[dict[str, Any], int]:
        text = as_text(value)
        if len(text) * 4 > MAX_TEXT_BYTES and len(text.encode()) > MAX_TEXT_BYTES:
            raise Unusable(Reason.TOO_LARGE, f"its text is longer than {MAX_TEXT_BYTES:,} bytes")
        return {"text": text}, len(text)

    def _image(self, source: Source, value: object) -> tuple[dict[str, Any], int]:
        path = value
        if isinstance(value, dict):  # a data set's own form
            path = value.get("path")
            value = value.get("bytes") if value.get("bytes") is not None else path
        if not isinstance(value, bytes):
            uri = source.image(_path(value))
            if is_upload(uri) or not (self.plan.inline or self.store):
                return {"image": {"uri": _sendable(uri)}}, len(uri)
            value = _content(uri)
        name = source.image_name(path) if isinstance(path, str) else None
        image, size = self._with_content(value)
        if name is not None:
            image["name"] = name
            size += len(name)
        return {"image": image}, size

    def _with_content(self, value: bytes) -> tuple[dict[str, Any], int]:
        if self.store is not None:
            uri = self.store.put(value)
            return {"uri": uri}, len(uri)
        if len(value) > MAX_INLINE_IMAGE_BYTES:
            raise Unusable(
                Reason.TOO_LARGE,
                f"it has {len(value):,} bytes, and {MAX_INLINE_IMAGE_BYTES:,} fit into a message; "
                "use --upload",
            )
        encoded = base64.b64encode(value).decode()
        return {"base64": encoded}, len(encoded)


def as_text(value: object) -> str:
    """The value of a column of texts; numbers are written out.

    Raises:
        Unusable: it is empty, no text, or has what no database holds.
    """
    text = value if isinstance(value, str) else _written_out(value)
    if not text:
        raise Unusable(Reason.EMPTY, "text is empty")
    if not text.isascii() or "\x00" in text:
        _check_storable(text, "its text")
    return text


def _written_out(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise Unusable(Reason.UNDECODABLE, "its text is not UTF-8") from None
    if isinstance(value, bool | int | float):
        return str(value)
    raise Unusable(Reason.WRONG_TYPE, f"its text is a {type(value).__name__}")


def _path(value: object) -> str:
    if value is None or value == "":
        raise Unusable(Reason.EMPTY, "it names no image")
    if not isinstance(value, str):
        raise Unusable(Reason.WRONG_TYPE, f"its image is a {type(value).__name__}")
    return value


def _own_id(value: object) -> str:
    id = "" if value is None else str(value)
    try:
        return check_id(id)
    except JobError as error:
        raise Unusable(Reason.INVALID_ID, error.message) from None


def _sendable(uri: str) -> str:
    if len(uri) > MAX_URI_LENGTH:
        why = f"the name of its image is longer than {MAX_URI_LENGTH:,} characters"
        raise Unusable(Reason.TOO_LARGE, why)
    _check_storable(uri, "the name of its image", "; use --upload or --inline, or rename it")
    return uri


def _check_storable(text: str, what: str, hint: str = "") -> None:
    # A lone surrogate stands for bytes that could not be decoded.
    found = REFUSED.search(text)
    if found is None:
        return
    if found[0] == "\x00":
        raise Unusable(Reason.NUL, f"{what} has a NUL character")
    raise Unusable(Reason.UNDECODABLE, f"{what} has bytes that are no characters{hint}")


def _content(uri: str) -> bytes:
    try:
        if is_url(uri):
            fs, path = remote(uri)
            return bytes(fs.cat_file(path))
        return Path(uri).read_bytes()
    except (OSError, ValueError, SourceError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is not there"
        raise Unusable(Reason.UNREADABLE, f"its image cannot be read: {why}") from None
