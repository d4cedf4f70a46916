"""What all sources have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from labelmill.core.names import file_name, short_name
from labelmill.sources.location import is_url, shown_url
from labelmill.sources.rows import Item


class Kind(StrEnum):
    """What a column holds, as far as its first rows show."""

    TEXT = "text"
    IMAGE = "image"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Column:
    """One column, or one field by its dotted path."""

    name: str
    kind: Kind


@dataclass(slots=True)
class Reading:
    """How far the reading of a source is.

    Attributes:
        fraction: of its bytes, from 0 to 1; None where its size is not known.
    """

    fraction: float | None = None


class Source(ABC):
    """One source: a file, a stream or a folder.

    Attributes:
        name: as people know it, without what is secret in an address.
        notes: what was guessed of it, to be shown.
        reading: how far it is read.
    """

    name: str
    notes: list[str]
    reading: Reading

    def __init__(self, name: str) -> None:
        self.name = name
        self.notes = []
        self.reading = Reading()

    @abstractmethod
    def columns(self) -> Sequence[Column]:
        """What columns there are, by the first rows.

        Raises:
            SourceError: nothing of it can be read.
        """

    @abstractmethod
    def rows(self, wanted: Sequence[str]) -> Iterator[Item]:
        """All rows in order, each with these columns' values.

        A row that cannot be read is a reject; so is the rest, where reading breaks off.

        Raises:
            SourceError: nothing of it can be read.
        """

    def count(self) -> int | None:
        """How many rows there are, where that is known without reading them."""
        return None

    def image(self, value: str) -> str:
        """The address of an image that a row names; relative ones are relative to the source."""
        return value

    def image_name(self, value: str) -> str | None:
        """What people call an image that a row names: as there, or its absolute path's end."""
        if is_url(value):
            return file_name(shown_url(value))
        return file_name(value) if value.startswith("/") else short_name(value)


@dataclass(frozen=True, slots=True)
class Format:
    """How to read a source, as far as the user has said.

    Attributes:
        name: one of :data:`labelmill.sources.readers.FORMATS`; None for what its name says.
        delimiter, encoding: of text; None for a guess.
        split: of a data set; None for the only one.
    """

    name: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    split: str | None = None
