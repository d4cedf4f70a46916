"""Reading sources in tests: the values of their rows, and what was rejected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labelmill.sources.base import Format, Source
from labelmill.sources.columns import ColumnOptions, choose
from labelmill.sources.readers import open_source
from labelmill.sources.rows import Reject, Row


def opened(path: Path | str, **form: Any) -> Source:
    """The one source of that name."""
    [source] = open_source(str(path), Format(**form))
    return source


def read(
    source: Source, wanted: Sequence[str] = ("text",)
) -> tuple[list[tuple[Any, ...]], list[Reject]]:
    """The values of all rows in order, and the rejects; numbers are seen to be whole."""
    items = list(source.rows(wanted))
    number = 0
    for item in items:
        assert item.number == number + 1
        number += item.rows if isinstance(item, Reject) else 1
    rows = [item.values for item in items if isinstance(item, Row)]
    return rows, [item for item in items if isinstance(item, Reject)]


def texts(path: Path | str, column: str = "text", **form: Any) -> list[Any]:
    """The texts of a source in which every row can be read."""
    rows, rejects = read(opened(path, **form), [column])
    assert rejects == []
    return [row[0] for row in rows]


def guessed(path: Path | str, **form: Any) -> str:
    """The column that is taken where the user names none."""
    source = opened(path, **form)
    return choose(source.name, source.columns(), ColumnOptions()).content
