"""Blocks: the rows of all sources, read ahead by a thread, to be submitted together."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from labelmill.sources.base import Source
from labelmill.sources.jobs import JobMaker, Made, NewRow
from labelmill.sources.rows import Reject

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

    def __len__(self) -> int:
        return len(self.rows) + len(self.rejected)


class Blocks:
    """All rows of the sources, in order.

    Parameters:
        rows: the most of a block.

    Iterating:

    Raises:
        SourceError: nothing of a source can be read.
    """

    def __init__(self, maker: JobMaker, sources: Sequence[Source], rows: int = BLOCK_ROWS) -> None:
        self._maker = maker
        self._sources = sources
        self._most = rows
        self._block = Block()
        self._size = 0
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Block]:
        wanted = self._maker.chosen.wanted
        for index, source in enumerate(self._sources):
            before = self._block.last
            for made in self._maker.make(source, source.rows(wanted), before):
                with self._lock:
                    full = self._add(source, made, before)
                if full:
                    part = source.reading.fraction
                    yield self._taken(part and (index + part) / len(self._sources))
        if self._block:
            yield self._taken(1.0)

    def begun(self, others_taken: Callable[[], bool]) -> Block | None:
        """The rows that are read and would wait for more; None if there are none.

        Another thread than the one that iterates may ask.

        Parameters:
            others_taken: whether all that was yielded has been taken. All of it was yielded
                before a row of this one was read, so it is asked after that.
        """
        with self._lock:
            return self._swapped(None) if self._block and others_taken() else None

    def _add(self, source: Source, made: Made, before: int) -> bool:
        block = self._block
        if isinstance(made, NewRow):
            block.rows.append(made)
            block.last = made.number
            self._size += made.size
        else:
            block.rejected.append(Rejected(source.name, made))
            block.last = max(block.last, before + made.number + made.rows - 1)
        return len(block) >= self._most or self._size >= _BLOCK_BYTES

    def _taken(self, fraction: float | None) -> Block:
        with self._lock:
            return self._swapped(fraction)

    def _swapped(self, fraction: float | None) -> Block:
        block, self._block, self._size = self._block, Block(last=self._block.last), 0
        block.fraction = fraction
        return block


def read_ahead(found: Blocks) -> Iterator[Block | None]:
    """The same blocks, made by a thread while the one before is submitted.

    Where none is whole within half a second, as of a slow pipe, what there is of it; or None.
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
                yield found.begun(ready.empty)
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
