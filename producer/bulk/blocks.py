"""Blocks: the rows of all sources, read ahead by a thread, to be submitted together."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from producer.bulk.jobs import JobMaker, NewRow
from producer.bulk.rows import Reject
from producer.bulk.sources.base import Source

BLOCK_ROWS = 1000
_BLOCK_BYTES = 4 * 1024 * 1024
_READ_AHEAD = 2  # blocks
_IDLE_SECONDS = 0.5


class Rejected(NamedTuple):
    """A row that is not sent, and the source that it is of."""

    source: str
    reject: Reject


@dataclass(slots=True)
class Block:
    """Rows that follow each other.

    Attributes:
        last: the number of the last row in the run, whether it could be read or not.
        fraction: how much of all sources is read, where that is known.
    """

    rows: list[NewRow] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    last: int = 0
    fraction: float | None = None


def blocks(maker: JobMaker, sources: Sequence[Source], rows: int = BLOCK_ROWS) -> Iterator[Block]:
    """All rows of the sources, in order.

    Parameters:
        rows: the most of a block.

    Raises:
        SourceError: nothing of a source can be read.
    """
    block = Block()
    size = before = 0
    for index, source in enumerate(sources):
        for made in maker.make(source, source.rows(maker.chosen.wanted), before):
            if isinstance(made, NewRow):
                block.rows.append(made)
                block.last = made.number
                size += made.size
            else:
                block.rejected.append(Rejected(source.name, made))
                block.last = max(block.last, before + made.number + made.rows - 1)
            if len(block.rows) + len(block.rejected) >= rows or size >= _BLOCK_BYTES:
                block.fraction = _fraction(source, index, len(sources))
                yield block
                block, size = Block(last=block.last), 0
        before = block.last
    if block.rows or block.rejected:
        block.fraction = 1.0
        yield block


def read_ahead(found: Iterator[Block]) -> Iterator[Block | None]:
    """The same blocks, made by a thread while the one before is submitted.

    Yields None every half second in which there is none, as while a pipe is silent.
    """
    ready: queue.Queue[Block | BaseException | None] = queue.Queue(_READ_AHEAD)
    stop = threading.Event()

    def put(item: Block | BaseException | None) -> None:
        while not stop.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=_IDLE_SECONDS)
                return

    def read() -> None:
        try:
            for block in found:
                put(block)
                if stop.is_set():
                    return
            put(None)
        except BaseException as error:  # raised again where the blocks are taken
            put(error)

    # A daemon: nothing wakes it while it waits for a pipe.
    threading.Thread(target=read, name="labelmill-read", daemon=True).start()
    try:
        while True:
            try:
                item = ready.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                yield None
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()


def _fraction(source: Source, index: int, sources: int) -> float | None:
    part = source.reading.fraction
    return None if part is None else (index + part) / sources
