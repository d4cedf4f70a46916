"""A fault: something that goes wrong for a while, with its own undo."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.soak.site import Site

Steps = Callable[[Site, random.Random], Iterator[float]]


class Fault(NamedTuple):
    """One kind of fault.

    Attributes:
        steps: a generator function; what is before its first ``yield`` begins the fault, and what
            is after its last one ends it. Each ``yield`` gives the seconds until it is asked again.
            It raises :class:`~tests.soak.site.Busy` before the first where it cannot begin now.
        needs: the kind of database, where it is only for one.
    """

    name: str
    steps: Steps
    needs: str | None = None


#: All faults, by name.
FAULTS: dict[str, Fault] = {}


def fault(name: str, needs: str | None = None) -> Callable[[Steps], Steps]:
    """Make a generator function known as a fault."""

    def know(steps: Steps) -> Steps:
        FAULTS[name] = Fault(name, steps, needs)
        return steps

    return know
