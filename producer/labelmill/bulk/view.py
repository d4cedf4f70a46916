"""The view: what is seen of a submission while it goes on; the command line draws it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from labelmill.bulk.progress import SubmitProgress


class View(ABC):
    """Shows a progress now and then, and messages at once."""

    every: float = 5.0
    """Seconds between two looks."""

    def __init__(self) -> None:
        self._shown = time.monotonic()

    def update(self, progress: SubmitProgress, *, now: bool = False) -> None:
        """Show how far it is, if it is time or ``now``."""
        moment = time.monotonic()
        if now or moment - self._shown >= self.every:
            self._shown = moment
            self.show(progress)

    @abstractmethod
    def show(self, progress: SubmitProgress) -> None:
        """Show how far it is."""

    @abstractmethod
    def say(self, message: str) -> None:
        """Show a message."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None
