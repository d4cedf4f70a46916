"""The pass budget: how much goes through the model at once, measured once and remembered.

It is counted in tokens for texts, padding included, and in images. More at once spares launches, up
to where every core is busy; from there on it only takes memory, and on a CPU leaves its caches.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from labelmill.engines.memory import within_memory

logger = logging.getLogger(__name__)

# A larger pass has to be faster by this much, an item, to be worth its memory and its wait.
_WORTH_WHILE = 1.03
# On a CPU a pass of this length has long filled every core.
_LONGEST_SECONDS = 2.0


class PassBudget:
    """How much one pass takes.

    Attributes:
        size: the budget, in tokens or images.

    Parameters:
        remember: called with the budget whenever the device's memory has proved it too large.
    """

    def __init__(self, size: int, remember: Callable[[int], None] | None = None) -> None:
        self.size = size
        self._remember = remember

    def shrink(self, failed: int) -> None:
        """Take half of what the device had no memory for."""
        self.size = max(1, failed // 2)
        logger.warning(
            "the device has no memory for %d at once; passes take %d from now on", failed, self.size
        )
        if self._remember is not None:
            self._remember(self.size)


def calibrate(seconds: Callable[[int], float], sizes: Sequence[int]) -> int:
    """Find the smallest pass that is nearly as fast, an item, as any.

    Parameters:
        seconds: how long a pass of a size takes; may run out of memory.
        sizes: what to choose from, ascending.
    """
    best, best_rate, smaller_were_as_fast = sizes[0], 0.0, 0
    for size in sizes:
        took = within_memory(partial(seconds, size))
        if took is None:
            break
        rate = size / took
        if rate > best_rate * _WORTH_WHILE:
            best, best_rate, smaller_were_as_fast = size, rate, 0
        else:
            smaller_were_as_fast += 1
        if smaller_were_as_fast == 2 or took > _LONGEST_SECONDS:
            break
    return best


def best_of_three(action: Callable[[], object]) -> float:
    """How many seconds an action takes when nothing disturbs it."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


class BudgetFile:
    """Budgets that were measured, in a JSON file; a file that cannot be used is done without."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def budget(self, key: str, measure: Callable[[], int]) -> PassBudget:
        """The budget that is remembered under a key, or else measured and remembered."""
        size = self.read(key)
        if size is None:
            size = measure()
            self.write(key, size)
        logger.info("passes take %d (%s)", size, key)
        return PassBudget(size, lambda smaller: self.write(key, smaller))

    def read(self, key: str) -> int | None:
        """The budget under a key, if there is one."""
        budget = self._content().get(key)
        return budget if type(budget) is int and budget > 0 else None

    def write(self, key: str, budget: int) -> None:
        """Keep a budget; workers that write at once do not damage the file."""
        content = self._content() | {key: budget}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._path.parent, delete=False) as file:
                json.dump(content, file, indent=2, sort_keys=True)
            Path(file.name).replace(self._path)
        except OSError as error:
            logger.info(
                "the pass budget is not remembered, and measured again at each start: %s "
                "(LABELMILL_CACHE_DIR names a folder for it)",
                error,
            )

    def _content(self) -> dict[str, object]:
        try:
            content = json.loads(self._path.read_text())
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}
