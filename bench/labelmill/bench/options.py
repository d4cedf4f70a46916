"""The options that all parts share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from labelmill.bench.queueing.chosen import Choice

Log = Callable[[str], None]
Sizes = TypeVar("Sizes")


@dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
        repeats: how often each side is measured.
        smoke: sizes so small that a part takes seconds; its figures mean nothing.
        data: texts (.csv, .jsonl) or a folder of images to take instead of synthetic ones.
        text_column: which column of the texts.
        group_size: the most jobs of a group of ours.
        jobs: how many no-op jobs a trial of the queue has.
        database: where the queue's rows go.
        fsync: whether PostgreSQL waits for the disk at each commit.
    """

    repeats: int = 3
    smoke: bool = False
    data: Path | None = None
    text_column: str = "text"
    group_size: int = 128
    jobs: int = 10_000
    database: Choice = Choice.BOTH
    fsync: bool = False

    @property
    def text_file(self) -> Path | None:
        """The data, if it is a file of texts."""
        return None if self.data is None or self.data.is_dir() else self.data

    @property
    def image_folder(self) -> Path | None:
        """The data, if it is a folder."""
        return self.data.resolve() if self.data is not None and self.data.is_dir() else None

    @property
    def text_settings(self) -> dict[str, int]:
        """Of a text model. To measure its budget would take longer than the rest of a smoke run."""
        return {"token_budget": 4096} if self.smoke else {}

    def pick(self, full: Sizes, smoke: Sizes) -> Sizes:
        """The one for this run."""
        return smoke if self.smoke else full

    def as_json(self) -> dict[str, object]:
        """For the report."""
        return {
            name: str(value) if name == "data" else value for name, value in asdict(self).items()
        }
