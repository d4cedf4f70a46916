"""Blocks: whole ones in order, and what there is of one where a pipe is slow."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import IO

import pytest

from labelmill.bulk.blocks import Blocks, read_ahead
from labelmill.core.job import MAX_TEXT_BYTES, parse_job
from labelmill.sources.base import Format, Kind, Source
from labelmill.sources.columns import ColumnMapping
from labelmill.sources.jobs import JobMaker, NewRow
from labelmill.sources.lines import Lines
from labelmill.sources.location import StandardInput
from labelmill.sources.plan import Plan
from labelmill.sources.rows import Row

TEXT = ColumnMapping(content="text", kind=Kind.TEXT)


def maker(**plan: int) -> JobMaker:
    return JobMaker("r", Plan(sources=("-",), **plan), TEXT)  # type: ignore[arg-type]


@pytest.fixture
def pipe() -> tuple[IO[bytes], Source]:
    """The writing end, and the source at the other."""
    theirs, mine = os.pipe()
    source = Lines(StandardInput(os.fdopen(theirs, "rb")), Format(encoding="utf-8"))
    return os.fdopen(mine, "wb", buffering=0), source


def test_of_a_slow_pipe_what_has_come_is_not_held_back(pipe: tuple[IO[bytes], Source]) -> None:
    mine, source = pipe
    mine.write(b"one\ntwo\n")
    source.columns()
    found = read_ahead(Blocks(maker(), [source]))
    texts = []

    def read(until: Callable[[], bool]) -> None:
        for block in found:
            if block:
                texts.extend(row.payload["text"] for row in block.rows)
            if until():
                return

    read(lambda: len(texts) == 2)
    mine.write(b"three\n")
    read(lambda: len(texts) == 3)
    mine.close()
    read(lambda: False)
    assert texts == ["one", "two", "three"]


def test_whole_blocks_are_in_order_and_end_with_a_part_of_one() -> None:
    class Some(Lines):
        def rows(self, wanted):  # type: ignore[no-untyped-def]
            return (Row(number, None, (f"row {number}",)) for number in range(1, 2501))

    blocks = list(Blocks(maker(), [Some(StandardInput(), Format())]))
    assert [(len(block), block.last) for block in blocks] == [
        (1000, 1000),
        (1000, 2000),
        (500, 2500),
    ]


def test_what_is_begun_is_taken_once_all_before_it_is() -> None:
    begun = threading.Event()

    class Some(Lines):
        def rows(self, wanted):  # type: ignore[no-untyped-def]
            yield from (Row(number, None, ("x",)) for number in range(1, 4))
            begun.set()

    blocks = Blocks(maker(), [Some(StandardInput(), Format())], rows=2)
    made = iter(blocks)
    assert len(next(made)) == 2
    assert blocks.begun(lambda: True) is None
    last = list(made)
    assert [len(block) for block in last] == [1]
    assert blocks.begun(lambda: True) is None


@pytest.mark.parametrize("text", ["x", "x" * MAX_TEXT_BYTES, "ä" * (MAX_TEXT_BYTES // 2), 7, b"x"])
def test_what_is_made_is_a_job(text: object) -> None:
    [row] = maker(top_k=3).make(
        Lines(StandardInput(), Format()), iter([Row(1, None, (text,))]), before=0
    )
    assert isinstance(row, NewRow)
    assert parse_job(row.payload).run == "r"
