"""The preview: what a submission would send, for ``--dry-run``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from labelmill.bulk.blocks import Block
from labelmill.bulk.rejects import Rejects
from labelmill.core.json import JsonValue
from labelmill.core.settings import ImageSettings
from labelmill.sources.columns import ColumnMapping
from labelmill.sources.jobs import NewRow

_SHOWN = 5


@dataclass(slots=True)
class Preview:
    """What would be sent: how many jobs, the first of them, and what could not be read."""

    source: str
    chosen: ColumnMapping
    jobs: int = 0
    rejected: int = 0
    outside: int = 0
    first: list[NewRow] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, object]:
        """For scripts."""
        chosen = self.chosen
        return {
            "sources": self.source,
            "columns": {"content": chosen.content, "kind": str(chosen.kind), "id": chosen.id},
            "jobs": self.jobs,
            "rejected": self.rejected,
            "rejected_by_code": dict(self.codes),
            "outside_image_root": self.outside,
            "first": [{"id": row.id, "input": input_of(row.payload)} for row in self.first],
        }


def preview(
    source: str,
    chosen: ColumnMapping,
    blocks: Iterator[Block | None],
    reject: Rejects,
    tick: Callable[[Preview], None],
) -> Preview:
    """Read everything and send nothing.

    Parameters:
        source: where the blocks come from, for people.
        chosen: the columns that are read.
        tick: called after each block.

    Raises:
        SourceError: a source cannot be read.
    """
    seen = Preview(source, chosen)
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
