"""The preview: what a submission would send, for ``--dry-run``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from labelmill.core.json import JsonValue
from labelmill.bulk.blocks import Block
from labelmill.sources.jobs import NewRow
from labelmill.bulk.rejects import Rejects
from labelmill.core.settings import ImageSettings

_SHOWN = 5
_LONGEST = 80


@dataclass(slots=True)
class Preview:
    """What would be sent: how many jobs, the first of them, and what could not be read."""

    jobs: int = 0
    rejected: int = 0
    outside: int = 0
    first: list[NewRow] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, object]:
        """For scripts."""
        return {
            "jobs": self.jobs,
            "rejected": self.rejected,
            "rejected_by_code": dict(self.codes),
            "outside_image_root": self.outside,
            "first": [{"id": row.id, "input": input_of(row.payload)} for row in self.first],
        }

    def show(self, console: Console) -> None:
        """As a table of the first jobs and a line of counts."""
        table = Table(header_style="bold")
        for name in ("row", "id", "input"):
            table.add_column(name, overflow="fold")
        for row in self.first:
            table.add_row(f"{row.number:,}", escape(row.id), escape(_short(input_of(row.payload))))
        console.print(table)
        if self.outside:
            console.print(ImageSettings().refusal(f"{self.outside:,} images are"), markup=False)
        console.print(
            f"{self.jobs:,} jobs would be sent, {self.rejected:,} rows rejected", highlight=False
        )
        for code, number in self.codes.most_common():
            console.print(f"  {number:,} {code}", highlight=False)


def preview(
    blocks: Iterator[Block | None], reject: Rejects, tick: Callable[[Preview], None]
) -> Preview:
    """Read everything and send nothing.

    Parameters:
        tick: called after each block.

    Raises:
        SourceError: a source cannot be read.
    """
    seen = Preview()
    images = ImageSettings()
    for block in blocks:
        if block is None:
            continue
        seen.jobs += len(block.rows)
        seen.first += block.rows[: _SHOWN - len(seen.first)]
        seen.outside += sum(images.is_outside(uri) for row in block.rows if (uri := uri_of(row)))
        for rejected in block.rejected:
            seen.rejected += max(1, rejected.reject.rows)
            seen.codes[rejected.reject.code] += max(1, rejected.reject.rows)
            reject(rejected)
        tick(seen)
    return seen


def uri_of(row: NewRow) -> str | None:
    """The uri of a row's image, if it has one."""
    image = row.payload.get("image")
    uri = image.get("uri") if isinstance(image, dict) else None
    return uri if isinstance(uri, str) else None


def input_of(payload: dict[str, JsonValue]) -> str:
    """What a job is about, for people."""
    image = payload.get("image")
    if isinstance(image, dict):
        return str(image.get("name") or image.get("uri") or "(an image in the message)")
    return str(payload.get("text", ""))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
