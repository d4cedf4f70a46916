"""The weather: which fault is in force when, drawn at random."""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg
import redis
from sqlalchemy.exc import SQLAlchemyError

from tests.soak.faults.fault import Fault
from tests.soak.site import Busy, Site

_AT_ONCE = 2


@dataclass
class _InForce:
    fault: Fault
    steps: Iterator[float]
    until: float
    began: float


class Weather:
    """Begins faults and ends them, as :meth:`look` is called.

    Parameters:
        faults: to be drawn from.
        pause: seconds between two of them, on average.

    Attributes:
        happened: how often each fault was in force, by name.
        failed: what could not be begun or ended, and why.
    """

    def __init__(
        self, site: Site, faults: Sequence[Fault], pause: float, chance: random.Random
    ) -> None:
        self._site = site
        self._faults = faults
        self._pause = pause
        self._chance = chance
        self._next = time.monotonic() + pause
        self._active: list[_InForce] = []
        self._last: deque[str] = deque(maxlen=3)
        self.happened: Counter[str] = Counter()
        self.failed: list[str] = []

    def look(self) -> None:
        """End what is over, and begin another when it is time."""
        now = time.monotonic()
        for each in [each for each in self._active if each.until <= now]:
            self._go_on(each)
        if now >= self._next and len(self._active) < _AT_ONCE:
            self._next = now + self._chance.uniform(0, 2 * self._pause)
            names = self.in_force()
            kinds = [each for each in self._faults if each.name not in names]
            if kinds:
                self._begin(self._chance.choice(kinds))

    def clear(self) -> None:
        """End all faults, each in its own time."""
        while self._active:
            for each in list(self._active):
                if each.until <= time.monotonic():
                    self._go_on(each)
            self._site.look()
            time.sleep(0.05)

    def in_force(self) -> list[str]:
        """The names of the faults that are in force; from any thread."""
        return [each.fault.name for each in list(self._active)]

    def last(self) -> list[str]:
        """The names of the faults that were last over."""
        return list(self._last)

    def _begin(self, fault: Fault) -> None:
        now = time.monotonic()
        beginning = _InForce(fault, fault.steps(self._site, self._chance), now, now)
        self._active.append(beginning)
        self._go_on(beginning)

    def _go_on(self, each: _InForce) -> None:
        first = each.until == each.began
        try:
            each.until = time.monotonic() + next(each.steps)
        except (StopIteration, Busy) as end:
            self._active.remove(each)
            if isinstance(end, StopIteration):
                self._last.append(each.fault.name)
                seconds = time.monotonic() - each.began
                print(f"              {each.fault.name}, {seconds:.1f} s", flush=True)
        except (redis.RedisError, psycopg.Error, SQLAlchemyError, OSError) as error:
            # Another fault is in the way of this one.
            self._active.remove(each)
            self.failed.append(f"{each.fault.name}: {type(error).__name__}")
        if first and each in self._active:
            self.happened[each.fault.name] += 1
