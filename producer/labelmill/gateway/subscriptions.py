"""Streams: what one reader of server-sent events still has to get."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from labelmill.gateway.schemas import JobOut

KEEP_ALIVE_SECONDS = 15
_MOST_EVENTS = 1000  # that wait for a reader who is slow; then it is told how many it missed


@dataclass(frozen=True, slots=True)
class Event:
    """A job that has its row; ``entry`` is set on the last one of its announcement."""

    job: JobOut
    entry: str | None = None

    def encode(self) -> bytes:
        """As it is sent."""
        place = f"id: {self.entry}\n" if self.entry else ""
        return f"event: result\n{place}data: {self.job.model_dump_json()}\n\n".encode()


@dataclass(eq=False, slots=True)
class Subscription:
    """One reader, of all results or of those of a run or a model."""

    run: str | None = None
    model: str | None = None
    _events: asyncio.Queue[Event | None] = field(
        default_factory=lambda: asyncio.Queue(_MOST_EVENTS)
    )
    _missed: int = 0

    def wants(self, run: str | None, model: str) -> bool:
        """Whether a job of that run and model is for this reader."""
        return self.run in (None, run) and self.model in (None, model)

    def miss(self, events: int) -> None:
        """Count events that the reader does not get."""
        self._missed += events

    def put(self, events: Sequence[Event]) -> None:
        """Give the reader events."""
        for event in events:
            try:
                self._events.put_nowait(event)
            except asyncio.QueueFull:
                self._missed += 1

    def close(self) -> None:
        """End the stream after what it has."""
        if self._events.full():
            self._events.get_nowait()
        self._events.put_nowait(None)

    async def encoded(self) -> AsyncIterator[bytes]:
        """What is sent, with a comment whenever there was nothing for a while."""
        while True:
            try:
                async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                    event = await self._events.get()
            except TimeoutError:
                yield b": alive\n\n"
                continue
            if event is None:
                return
            yield event.encode()
            if self._missed and self._events.empty():
                missed, self._missed = self._missed, 0
                yield f"event: missed\ndata: {json.dumps({'count': missed})}\n\n".encode()
