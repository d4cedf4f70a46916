"""Columns: which one holds the texts or the images, by its name or as the only one of its kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from labelmill.core.errors import ConfigurationError, SourceError
from labelmill.sources.base import Column, Kind

IMAGE_SUFFIXES = {
    ".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp",
}  # fmt: skip

_TEXT_NAMES = (
    "text", "texts", "sentence", "sentences", "content", "body", "message", "review", "comment",
    "document", "utterance", "description", "tweet", "post", "title", "question", "input",
)  # fmt: skip
_IMAGE_NAMES = (
    "image", "image_path", "image_url", "image_uri", "file_name", "filename", "img", "picture",
    "photo", "path", "file", "filepath", "file_path", "uri", "url",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnOptions:
    """The columns as the user names them, and what the model takes, where that is known."""

    text: str | None = None
    image: str | None = None
    id: str | None = None
    takes: Kind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMapping:
    """The column of the texts or images (``kind``), that of the ids, and whether it is a guess."""

    content: str
    kind: Kind
    id: str | None = None
    guessed: bool = False

    @property
    def wanted(self) -> list[str]:
        """The columns to read."""
        return [self.content] if self.id is None else [self.content, self.id]


def choose(source: str, columns: Sequence[Column], options: ColumnOptions) -> ColumnMapping:
    """The columns to take.

    Parameters:
        source: its name, for messages.

    Raises:
        ConfigurationError: texts and images are both named.
        SourceError: a column that is named is not there, or it is open which one is meant.
    """
    if options.text is not None and options.image is not None:
        raise ConfigurationError("give one of --text-column and --image-column")
    named = (options.text, options.image, options.id)
    require(source, columns, [name for name in named if name is not None])
    if options.text is not None:
        if options.takes is Kind.IMAGE:
            raise SourceError(
                f"the model takes images, not texts; if {options.text!r} has their paths or uris, "
                f"say --image-column {options.text}"
            )
        return ColumnMapping(content=options.text, kind=Kind.TEXT, id=options.id)
    if options.image is not None:
        if options.takes is Kind.TEXT:
            raise SourceError("the model takes texts, not images; say --text-column")
        return ColumnMapping(content=options.image, kind=Kind.IMAGE, id=options.id)
    kinds = [options.takes] if options.takes else [Kind.TEXT, Kind.IMAGE]
    left = [each for each in columns if each.name != options.id]
    for find in (_by_name, _only_one):
        for kind in kinds:
            if (name := find(left, kind)) is not None:
                return ColumnMapping(content=name, kind=kind, id=options.id, guessed=True)
    other = Kind.TEXT if options.takes is Kind.IMAGE else Kind.IMAGE
    if options.takes is not None and _by_name(left, other) is not None:
        raise SourceError(
            f"{source} has {other}s, and the model takes {options.takes}s; if a column has them, "
            f"say --{options.takes}-column; {_listed(columns)}"
        )
    what = " or ".join(f"{kind}s" for kind in kinds)
    flags = " or ".join(f"--{kind}-column" for kind in kinds)
    raise SourceError(f"which column of {source} has the {what}? Say {flags}; {_listed(columns)}")


def require(source: str, columns: Sequence[Column], wanted: Sequence[str]) -> None:
    """See that there are these columns.

    Raises:
        SourceError: one is not there.
    """
    there = {each.name for each in columns}
    for name in wanted:
        if name not in there:
            raise SourceError(f"{source} has no column {name!r}; {_listed(columns)}")


def kind_of(values: Iterable[object]) -> Kind:
    """What a column holds, by some of its values: most of those that are not empty."""
    seen = [each for each in values if each not in (None, "")]
    texts = [each for each in seen if isinstance(each, str)]
    if not texts or len(texts) < len(seen):
        return Kind.OTHER
    if sum(map(_names_image, texts)) > len(texts) / 2:
        return Kind.IMAGE
    return Kind.TEXT if sum(map(_is_number, texts)) < len(texts) / 2 else Kind.OTHER


def _by_name(columns: Sequence[Column], kind: Kind) -> str | None:
    names = _TEXT_NAMES if kind is Kind.TEXT else _IMAGE_NAMES
    other = Kind.IMAGE if kind is Kind.TEXT else Kind.TEXT
    for wanted in names:
        for last_part in (False, True):
            found = [
                each.name
                for each in columns
                if (each.name.rpartition(".")[2] if last_part else each.name).casefold() == wanted
                and each.kind is not other
            ]
            if len(found) == 1:
                return found[0]
    return None


def _only_one(columns: Sequence[Column], kind: Kind) -> str | None:
    found = [each.name for each in columns if each.kind is kind]
    return found[0] if len(found) == 1 else None


def _names_image(value: str) -> bool:
    return PurePosixPath(value.partition("?")[0]).suffix.lower() in IMAGE_SUFFIXES


def _is_number(value: str) -> bool:
    try:
        float(value.strip().replace(",", "."))
    except ValueError:
        return False
    return True


def _listed(columns: Sequence[Column]) -> str:
    return f"it has {', '.join(repr(each.name) for each in columns) or 'none'}"
