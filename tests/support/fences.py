"""The fenced blocks of the docs, with what a page says of each: run, parsed, or why neither."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

#: All pages that people read.
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(ROOT / folder / "README.md" for folder in ("app", "bench", "core", "db", "producer")),
    *(
        ROOT / folder / "README.md"
        for folder in ("tests", "worker", "bench/labelmill/demo", "bench/kit")
    ),
    *sorted((ROOT / "docs").rglob("*.md")),
]

_FENCE = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]+) -->\n)?(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """One fenced block.

    Attributes:
        page: relative to the checkout.
        mark: what the comment right above it says; empty for none.
    """

    page: str
    line: int
    language: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> Iterator[Block]:
    """The blocks of all pages."""
    for page in PAGES:
        content = page.read_text()
        for found in _FENCE.finditer(content):
            line = content.count("\n", 0, found.start("indent")) + 1
            name = str(page.relative_to(ROOT))
            yield Block(name, line, found["language"], found["mark"] or "", found["text"])
