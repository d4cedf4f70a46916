"""Rejects: the list of rows that were not sent, in a file and, the first of them, for people."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from labelmill.bulk.blocks import Rejected
from labelmill.core.errors import ConfigurationError

FIELDS = ("source", "row", "rows", "line", "code", "message")


class Rejects(Protocol):
    """Takes one row that was not sent after the other."""

    def __call__(self, rejected: Rejected, /) -> None:
        """Write it down."""


@contextmanager
def rejects_file(path: Path | None) -> Iterator[Rejects]:
    """Write to a file: ``.csv``, or anything else for JSON lines; None writes nothing.

    Raises:
        ConfigurationError: it cannot be written.
    """
    if path is None:
        yield lambda _rejected: None
        return
    # A line at a time: that the disk is full is told while the run can still be resumed.
    with _writing(path):
        file = path.open("w", 1, encoding="utf-8", errors="backslashreplace", newline="")
        write = _csv(file) if path.suffix.lower() == ".csv" else _jsonl(file)

    def write_or_say(rejected: Rejected) -> None:
        with _writing(path):
            write(rejected)

    try:
        yield write_or_say
    finally:
        with _writing(path):
            file.close()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error


def described(rejected: Rejected) -> str:
    """For people, on one line."""
    source, (number, line, _code, message, rows) = rejected
    row = f"row {number:,}" if rows < 2 else f"rows {number:,} to {number + rows - 1:,}"
    where = f", line {line:,}" if line is not None else ""
    text = f"{source}, {row}{where}: {message}"
    return text.encode("utf-8", "backslashreplace").decode().replace("\n", "\\n")


def _csv(file: IO[str]) -> Rejects:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(FIELDS)

    def write(rejected: Rejected) -> None:
        writer.writerow(_fields(rejected))

    return write


def _jsonl(file: IO[str]) -> Rejects:
    def write(rejected: Rejected) -> None:
        content = dict(zip(FIELDS, _fields(rejected), strict=True))
        file.write(json.dumps(content, ensure_ascii=False) + "\n")

    return write


def _fields(rejected: Rejected) -> tuple[object, ...]:
    source, (number, line, code, message, rows) = rejected
    return source, number, rows, line, str(code), message
