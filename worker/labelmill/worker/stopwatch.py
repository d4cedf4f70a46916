"""The stopwatch: how long a step has been going on, to be read by another thread."""

from __future__ import annotations

import time


class Stopwatch:
    """Runs inside its ``with`` block; to be entered by one thread."""

    def __init__(self) -> None:
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """How long the block has been going on; 0 outside of it."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._since = None
