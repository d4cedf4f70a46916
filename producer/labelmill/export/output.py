"""Where an export goes: a file under a name of its own until it is whole, or standard output."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import PurePosixPath
from typing import IO, Any, cast

import fsspec

from labelmill.core.errors import ConfigurationError, LabelmillError
from labelmill.core.ids import new_id


class ExportFailed(LabelmillError):
    """An export that could not be written; what was there under its name is as it was."""


class OutputFormat(StrEnum):
    """What results are exported as."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    HTML = "html"


_SUFFIXES = {
    ".csv": OutputFormat.CSV,
    ".jsonl": OutputFormat.JSONL,
    ".ndjson": OutputFormat.JSONL,
    ".parquet": OutputFormat.PARQUET,
    ".html": OutputFormat.HTML,
    ".htm": OutputFormat.HTML,
}
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}


def format_of(name: str) -> OutputFormat:
    """What a file of that name, or at that URL, is to be.

    Raises:
        ConfigurationError: the name does not say it.
    """
    path = PurePosixPath(name)
    compressed = path.suffix.lower() in _COMPRESSIONS
    chosen = _SUFFIXES.get(PurePosixPath(path.stem if compressed else path.name).suffix.lower())
    if chosen is None:
        raise ConfigurationError(
            f"{path.name} does not say what it is to be: end it with .csv, .jsonl, .parquet or"
            " .html (and .gz or .zst, if you like), or give --format"
        )
    if compressed and chosen is OutputFormat.PARQUET:
        raise ConfigurationError("Parquet is compressed in itself: leave out the last suffix")
    return chosen


@contextmanager
def opened_output(name: str | None) -> Iterator[IO[bytes]]:
    """A file to write to; it gets its name when the block ends without an error.

    Parameters:
        name: a path or an fsspec URL; ``.gz`` and ``.zst`` at its end compress. None for standard
            output.

    Raises:
        ConfigurationError: the URL cannot be used, or it names a folder.
        ExportFailed: it cannot be written.
    """
    if name is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    system, path = _location(name)
    if system.isdir(path):
        raise ConfigurationError(f"{PurePosixPath(path).name} is a folder; name a file in it")
    folder, _, last = path.rpartition("/")
    partial = f"{folder}/.{last}.{new_id()}.partial"
    try:
        with system.open(partial, "wb") as file, _compressed(file, name) as content:
            yield content
        system.mv(partial, path)
    except OSError as error:
        _remove(system, partial)
        # The name of a URL may hold a password or a signature.
        reason = error.strerror or type(error).__name__
        raise ExportFailed(f"{last} cannot be written: {reason}") from error
    except BaseException:
        _remove(system, partial)
        raise


@contextmanager
def as_text(output: IO[bytes]) -> Iterator[IO[str]]:
    """The output for text in UTF-8, with what is no Unicode as question marks."""
    text = io.TextIOWrapper(output, encoding="utf-8", errors="replace", newline="")
    try:
        yield text
        text.flush()
    finally:
        with suppress(ValueError, OSError):
            text.detach()


def _location(name: str) -> tuple[Any, str]:
    try:
        system, path = fsspec.core.url_to_fs(name)
    except (ValueError, ImportError) as error:
        raise ConfigurationError(
            f"there is no way to write to {name.partition('://')[0]}://: {error}"
        ) from error
    return system, path


@contextmanager
def _compressed(file: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    compression = _COMPRESSIONS.get(PurePosixPath(name).suffix.lower())
    if compression is None:
        yield file
    elif compression == "gzip":
        with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6) as content:
            yield cast("IO[bytes]", content)
    else:
        with _zstandard(file) as content:
            yield content


def _zstandard(file: IO[bytes]) -> Any:
    try:
        import pyarrow as pa
    except ModuleNotFoundError as error:
        raise ConfigurationError(".zst needs pyarrow: pip install 'labelmill[bulk]'") from error
    return pa.CompressedOutputStream(file, "zstd")


def _remove(system: Any, path: str) -> None:
    with suppress(OSError):
        system.rm_file(path)
