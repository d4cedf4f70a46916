"""The token budget: how many tokens a pass takes, measured once and remembered."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from celery.utils.log import get_logger

logger = get_logger(__name__)

DEFAULT_TOKENS = 4096

_STEPS = [256 << step for step in range(10)]  # to 131,072 tokens
# A larger pass has to be faster by this much, a token, to be worth its memory and its wait.
_WORTH_WHILE = 1.03
# On a CPU a pass of this length has long filled every core.
_LONGEST_SECONDS = 2.0


class TokenBudget:
    """How many tokens a pass takes, padding included.

    Attributes:
        tokens: the budget.

    Parameters:
        remember: called with the budget whenever the device's memory has proved it too large.
    """

    def __init__(self, tokens: int, remember: Callable[[int], None] | None = None) -> None:
        self.tokens = tokens
        self._remember = remember

    def shrink(self, failed: int) -> None:
        """Take half of what the device had no memory for."""
        self.tokens = max(1, failed // 2)
        logger.warning("the device is out of memory; passes take %d tokens now", self.tokens)
        if self._remember is not None:
            self._remember(self.tokens)


def calibrate(seconds: Callable[[int], float]) -> int:
    """Find the smallest budget that is nearly as fast, a token, as any.

    Parameters:
        seconds: how long a pass of that many tokens takes.
    """
    best, best_rate, smaller_were_as_fast = _STEPS[0], 0.0, 0
    for tokens in _STEPS:
        try:
            took = seconds(tokens)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            break
        rate = tokens / took
        if rate > best_rate * _WORTH_WHILE:
            best, best_rate, smaller_were_as_fast = tokens, rate, 0
        else:
            smaller_were_as_fast += 1
        if smaller_were_as_fast == 2 or took > _LONGEST_SECONDS:
            break
    return best


class BudgetFile:
    """Budgets that were measured, in a JSON file; a file that cannot be used is done without."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, key: str) -> int | None:
        """The budget under a key, if there is one."""
        budget = self._content().get(key)
        return budget if isinstance(budget, int) and budget > 0 else None

    def write(self, key: str, tokens: int) -> None:
        """Keep a budget; workers that write at once do not damage the file."""
        content = self._content() | {key: tokens}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._path.parent, delete=False) as file:
                json.dump(content, file, indent=2, sort_keys=True)
            Path(file.name).replace(self._path)
        except OSError as error:
            logger.info("the token budget is not remembered: %s", error)

    def _content(self) -> dict[str, object]:
        try:
            content = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}
