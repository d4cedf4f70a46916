"""Sources: the jobs in a CSV or JSONL file or in a folder of images."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from db.errors import SourceError
from producer.client import NewJob

IMAGE_SUFFIXES = {
    ".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns (fields, in JSONL) hold what; without an id column ids are made."""

    text: str = "text"
    image: str | None = None
    id: str | None = None


def read_source(path: Path, columns: Columns) -> Iterator[NewJob]:
    """The jobs of a ``.csv`` or ``.jsonl`` file, of an image, or of all images under a folder.

    Images named in a file are relative to that file's folder, unless they are uris.

    Raises:
        SourceError: it is not there or of no known kind, or a column or line cannot be read.
    """
    if path.is_dir():
        return _images(path)
    if not path.is_file():
        raise SourceError(f"there is no file or folder {path}")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return iter([NewJob(image=path)])
    if path.suffix.lower() == ".csv":
        return _csv(path, columns)
    if path.suffix.lower() in {".jsonl", ".ndjson"}:
        return _jsonl(path, columns)
    raise SourceError(f"{path} is neither .csv nor .jsonl nor an image nor a folder of images")


def count_source(path: Path) -> int | None:
    """How many jobs a source holds, where that is known without reading it twice."""
    return sum(1 for _ in _image_files(path)) if path.is_dir() else None


def _images(folder: Path) -> Iterator[NewJob]:
    for file in _image_files(folder):
        yield NewJob(image=file)


def _image_files(folder: Path) -> Iterator[Path]:
    return (
        file
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()
    )


def _csv(path: Path, columns: Columns) -> Iterator[NewJob]:
    with _opened(path) as file:
        reader = csv.DictReader(file)
        _require(path, columns, reader.fieldnames or ())
        for row in reader:
            yield _new_job(path, columns, row)


def _jsonl(path: Path, columns: Columns) -> Iterator[NewJob]:
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise SourceError(f"{path}, line {number} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise SourceError(f"{path}, line {number}: it is not a JSON object")
            _require(path, columns, row, number)
            yield _new_job(path, columns, row)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        # utf-8-sig: spreadsheets begin their CSV files with a byte order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8 ({error.reason}); convert it first") from error
    except (csv.Error, OSError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error


def _require(path: Path, columns: Columns, there: Iterable[str], line: int | None = None) -> None:
    names = list(there)
    for name in (columns.image or columns.text, columns.id):
        if name is not None and name not in names:
            where = f"{path}, line {line}" if line else str(path)
            raise SourceError(
                f"{where} has no column {name!r}, it has {', '.join(map(repr, names))}; "
                "name yours with --text-column, --image-column, --id-column"
            )


def _new_job(path: Path, columns: Columns, row: dict[str, object]) -> NewJob:
    id = str(row[columns.id]) if columns.id is not None else None
    if columns.image is None:
        return NewJob(id=id, text=str(row[columns.text] or ""))
    image = str(row[columns.image] or "")
    return NewJob(id=id, image=image if "://" in image else path.parent / image)
