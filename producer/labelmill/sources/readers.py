"""Opening: which source a name is, by what the user says, its suffix or its first bytes."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from labelmill.core.errors import ConfigurationError, SourceError
from labelmill.sources import datasets
from labelmill.sources.arrow import ArrowStreams, Parquet
from labelmill.sources.base import Format, Source
from labelmill.sources.columns import IMAGE_SUFFIXES
from labelmill.sources.delimited import Delimited
from labelmill.sources.images import ImageFile, ImageFolder, RemoteImages
from labelmill.sources.jsonl import JsonLines
from labelmill.sources.lines import Lines
from labelmill.sources.location import (  # fmt: skip
    LocalFile,
    Location,
    NamedPipe,
    RemoteFile,
    StandardInput,
    is_url,
    remote,
)

#: What ``--format`` takes.
FORMATS = ("csv", "tsv", "jsonl", "parquet", "arrow", "lines", "images")

STDIN = "-"

#: What the suffix of a name says, where nothing else does.
BY_SUFFIX = {
    ".csv": "csv",
    ".tsv": "tsv", ".tab": "tsv",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet", ".pq": "parquet",
    ".arrow": "arrow",
    ".txt": "lines", ".text": "lines",
}  # fmt: skip


def expand(names: Sequence[str]) -> list[str]:
    """The names with patterns such as ``2026-*.csv`` replaced by what they match, in order.

    Raises:
        SourceError: a pattern matches nothing.
    """
    found: list[str] = []
    for name in names:
        if is_url(name) and glob.has_magic(name.partition("?")[0]):
            fs, path = remote(name)
            matches = [str(fs.unstrip_protocol(each)) for each in sorted(fs.glob(path))]
        elif not is_url(name) and glob.has_magic(name) and not Path(name).exists():
            matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - an absolute one too
        else:
            matches = [name]
        if not matches:
            raise SourceError(f"nothing matches {name}")
        found += matches
    return found


def open_source(name: str, form: Format) -> list[Source]:
    """The source of that name; the several ones of a folder of tables.

    Parameters:
        name: a path, a URL, or ``-`` for standard input.

    Raises:
        SourceError: there is none, or it is of no known format.
        ConfigurationError: what the user says of it does not fit, or a package is missing.
    """
    if form.name is not None and form.name not in FORMATS:
        raise ConfigurationError(f"--format is one of {', '.join(FORMATS)}")
    if name == STDIN:
        if form.name in (None, "images"):
            raise ConfigurationError("say --format csv, jsonl, lines, … of standard input")
        return [_file(StandardInput(), form)]
    if is_url(name):
        return [_remote(name, form)]
    path = Path(name)
    if path.is_dir():
        return _folder(path, form)
    if not path.exists():
        raise SourceError(f"there is no file or folder {path}")
    if path.is_fifo():
        return [_file(NamedPipe(path), form)]
    if form.name == "images" or (form.name is None and path.suffix.lower() in IMAGE_SUFFIXES):
        return [ImageFile(path)]
    return [_file(LocalFile(path), form)]


def fingerprint(source: str, form: Format) -> str | None:
    """Something that is another when the source is; None where nothing can be known.

    Raises:
        SourceError: as :func:`open_source`.
    """
    prints: list[str] = []
    for each in open_source(source, form) if not _is_pipe(source) else []:
        if isinstance(each, ImageFolder | RemoteImages):
            prints.append(each.fingerprint())
        elif locations := _locations(each):
            prints += [location.fingerprint() or "" for location in locations]
    return "|".join(prints) or None


def _is_pipe(source: str) -> bool:
    return source == STDIN or (not is_url(source) and Path(source).is_fifo())


def _locations(source: Source) -> list[Location]:
    if isinstance(source, ArrowStreams):
        return list(source.locations)
    location = getattr(source, "location", None)
    return [location] if isinstance(location, Location) else []


def _file(location: Location, form: Format) -> Source:
    kind = form.name or next(
        (BY_SUFFIX[each] for each in reversed(location.suffixes) if each in BY_SUFFIX), None
    )
    match kind:
        case "csv":
            return Delimited(location, form, None)
        case "tsv":
            return Delimited(location, form, "\t")
        case "jsonl":
            return JsonLines(location, form)
        case "lines":
            return Lines(location, form)
        case "parquet":
            return Parquet(location)
        case "arrow":
            return ArrowStreams(location.name, [location])
        case _:
            raise SourceError(
                f"what is {location.name}? Its name ends in none of "
                f"{', '.join(BY_SUFFIX)}; say --format {', '.join(FORMATS)}"
            )


def _remote(url: str, form: Format) -> Source:
    fs, path = remote(url)
    if form.name == "images" or (
        form.name is None and not url.startswith("http") and fs.isdir(path)
    ):
        return RemoteImages(url)
    return _file(RemoteFile(url), form)


def _folder(folder: Path, form: Format) -> list[Source]:
    if form.name == "images":
        return [ImageFolder(folder)]
    if datasets.is_saved(folder):
        streams = datasets.saved_streams(folder, form.split)
        return [ArrowStreams(str(folder), [LocalFile(each) for each in streams])]
    metadata = datasets.metadata_of(folder)
    if metadata is not None:
        return [_file(LocalFile(metadata), form)]
    images = ImageFolder(folder)
    if form.name is None and form.split is None and next(images.rows([""]), None) is not None:
        return [images]
    found = datasets.tables(folder, form.split)
    if found:
        return [_file(LocalFile(each), form) for each in found]
    return [images]
