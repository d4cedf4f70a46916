"""The view: what is seen of a submission while it goes on; the command line draws it."""

from __future__ import annotations

import time
from abc import abstractmethod

from labelmill.bulk.progress import SubmitProgress
from labelmill.core.closing import Closeable


class View(Closeable):
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

    def close(self) -> None:
        """Show nothing any more."""
