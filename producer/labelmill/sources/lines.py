"""Text files of a text a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from labelmill.sources.base import Column, Format, Kind, Source
from labelmill.sources.compression import READ_ERRORS
from labelmill.sources.location import Location
from labelmill.sources.rows import Item, Reason, Reject, Row
from labelmill.sources.text import MAX_LINE, Text

COLUMN = "text"


class Lines(Source):
    """A file with a text on each line; lines of nothing but spaces are passed over."""

    def __init__(self, location: Location, form: Format) -> None:
        super().__init__(location.name)
        self.location = location
        self._text = Text(location, form, self.reading)

    def columns(self) -> Sequence[Column]:
        """The one there is."""
        if note := self._text.encoding.note:
            self.notes = [note]
        return [Column(COLUMN, Kind.TEXT)]

    def rows(self, wanted: Sequence[str]) -> Iterator[Item]:
        """Each line without its end."""
        number = 0
        try:
            for line in self._text.lines(""):
                text = line.text.rstrip("\r\n")
                if not text.strip():
                    continue
                number += 1
                if line.cut:
                    yield Reject(number, line.number, Reason.TOO_LARGE, too_long())
                else:
                    yield Row(number, line.number, (text,) * len(wanted))
        except READ_ERRORS as error:
            yield broken_off(number + 1, error)


def too_long() -> str:
    """What is wrong with a line that was cut off."""
    return f"the line is longer than {MAX_LINE:,} characters"


def broken_off(number: int, error: Exception) -> Reject:
    """The end of a source that cannot be read any further.

    Parameters:
        number: of the first row that is missing.
    """
    why = f"the rest cannot be read ({type(error).__name__}: {error}); what comes before was read"
    return Reject(number, None, Reason.UNREADABLE, why, rows=0)
