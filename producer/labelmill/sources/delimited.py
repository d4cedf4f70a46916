"""Delimited text: CSV and its kin, as spreadsheets and databases really write them."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property

from labelmill.core.errors import ConfigurationError, SourceError
from labelmill.sources.base import Column, Format, Source
from labelmill.sources.columns import kind_of
from labelmill.sources.compression import READ_ERRORS
from labelmill.sources.lines import broken_off, too_long
from labelmill.sources.location import Location
from labelmill.sources.rows import Item, Reason, Reject, Row
from labelmill.sources.text import MAX_LINE, Line, Text

#: Characters of one record. A quote that is not closed would take all that follows into one.
MAX_RECORD = 4 * 1024 * 1024

_DELIMITERS = ",;\t|"
_SAMPLED = 200  # records

csv.field_size_limit(MAX_LINE)


class Delimited(Source):
    """A file of records whose first names the columns."""

    def __init__(self, location: Location, form: Format, delimiter: str | None) -> None:
        super().__init__(location.name)
        if form.delimiter is not None:
            delimiter = {"\\t": "\t", "tab": "\t"}.get(form.delimiter, form.delimiter)
            if len(delimiter) != 1 or delimiter in '"\r\n':
                raise ConfigurationError("--delimiter is one character, such as ';', or tab")
        self.location = location
        self._text = Text(location, form, self.reading)
        self._given = delimiter

    @cached_property
    def _layout(self) -> tuple[str, int]:
        """The delimiter, and how many lines are before the header."""
        first = self._text.first_lines("")
        # A line of Excel's own that says it.
        if first and first[0].lower().startswith("sep=") and len(first[0].rstrip("\r\n")) == 5:
            return self._given or first[0][4], 1
        if self._given is not None:
            return self._given, 0
        guess = _guess_delimiter(first)
        if guess != ",":
            self.notes.append(f"delimiter {'tab' if guess == chr(9) else guess!r}")
        return guess, 0

    @cached_property
    def _header(self) -> list[str]:
        delimiter, skipped = self._layout
        first = self._text.first_lines("")[skipped:]
        for record in csv.reader(first, delimiter=delimiter):
            if record:
                return [name.strip().removeprefix("\ufeff") for name in record]
        raise SourceError(f"{self.name} is empty: it has not even a header")

    def columns(self) -> Sequence[Column]:
        """The names of the header; their kinds by the first records."""
        names = self._header
        delimiter, skipped = self._layout
        if note := self._text.encoding.note:
            self.notes.append(note)
        records = csv.reader(self._text.first_lines("")[skipped:], delimiter=delimiter)
        sample = [each for _, each in zip(range(_SAMPLED), records, strict=False)]
        rows = [each for each in sample[1:] if len(each) == len(names)]
        return [
            Column(name, kind_of(row[index] for row in rows)) for index, name in enumerate(names)
        ]

    def rows(self, wanted: Sequence[str]) -> Iterator[Item]:
        """All records after the header."""
        delimiter, skipped = self._layout
        header = self._header
        indices = [_index(self.name, header, name) for name in wanted]
        width = len(header)
        feed = _Feed(self._text.lines(""))
        number = 0
        try:
            for _ in range(skipped):
                next(feed)
                feed.begin()
            started = False
            for line, record, problem in _records(feed, delimiter):
                if not started:
                    started = True
                    continue
                number += 1
                if problem is not None:
                    yield Reject(number, line, *problem)
                elif len(record) != width:
                    yield Reject(number, line, Reason.RAGGED, _ragged(len(record), width))
                else:
                    yield Row(number, line, tuple([record[index] for index in indices]))
        except READ_ERRORS as error:
            yield broken_off(number + 1, error)

    def image(self, value: str) -> str:
        """Relative to the file."""
        return self.location.sibling(value)


class _TooLong(Exception):
    """A record that does not end."""


class _Feed:
    """The lines that the parser takes, which can be given back when a record does not end."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._back: deque[Line] = deque()
        self._taken: list[Line] = []
        self._size = 0
        self.cut = False
        self.broken = False

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        try:
            line = self._back.popleft() if self._back else next(self._lines)
        except StopIteration:
            # The parser asks for another line in the middle of a record.
            self.broken = bool(self._taken)
            raise
        self._taken.append(line)
        self._size += len(line.text)
        self.cut = self.cut or line.cut
        if self._size > MAX_RECORD and len(self._taken) > 1:
            raise _TooLong
        return line.text

    @property
    def first(self) -> Line | None:
        """The line at which the record begins."""
        return self._taken[0] if self._taken else None

    def begin(self) -> None:
        """Let the next line be the beginning of a record."""
        self._taken = []
        self._size = 0
        self.cut = False

    def give_back(self) -> None:
        """Let all lines of the record but the first be read again."""
        self._back.extendleft(reversed(self._taken[1:]))
        self.broken = False
        self.begin()


_Record = tuple[int | None, list[str], tuple[Reason, str] | None]


def _records(feed: _Feed, delimiter: str) -> Iterator[_Record]:
    """The records with their lines; one that does not end costs its first line alone."""
    while True:
        try:
            for record in csv.reader(feed, delimiter=delimiter):
                if feed.broken:
                    break
                line = feed.first
                if feed.cut:
                    yield line and line.number, record, (Reason.TOO_LARGE, too_long())
                elif record:
                    yield line and line.number, record, None
                feed.begin()
            else:
                return
            problem = (Reason.UNCLOSED_QUOTE, "a quote is opened and never closed")
        except _TooLong:
            problem = (
                Reason.UNCLOSED_QUOTE,
                f"a quote is opened and not closed within {MAX_RECORD:,} characters",
            )
        except csv.Error as error:
            problem = (Reason.UNREADABLE, str(error))
        line = feed.first
        yield line and line.number, [], problem
        feed.give_back()


def _guess_delimiter(lines: Sequence[str]) -> str:
    """The one that cuts the most records into as many fields as the header has."""

    def fit(delimiter: str) -> tuple[float, int]:
        records = csv.reader(lines, delimiter=delimiter)
        widths = [len(each) for _, each in zip(range(_SAMPLED), records, strict=False) if each]
        if not widths or widths[0] == 1:
            return (0.0, 1)
        return (widths.count(widths[0]) / len(widths), widths[0])

    return max(_DELIMITERS, key=fit)


def _index(name: str, header: Sequence[str], column: str) -> int:
    if header.count(column) != 1:
        how = "no" if column not in header else "more than one"
        raise SourceError(
            f"{name} has {how} column {column!r}; it has {', '.join(map(repr, header))}"
        )
    return header.index(column)


def _ragged(fields: int, width: int) -> str:
    return f"it has {fields:,} fields, the header has {width:,}"
