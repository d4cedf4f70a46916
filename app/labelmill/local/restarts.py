"""When what has died is started again, and when no more."""

from __future__ import annotations

from collections import deque

_FIRST_DELAY_S = 1.0
_LONGEST_DELAY_S = 30.0

# What dies more often than this has a fault that starting it again does not mend. A job that kills
# its worker does so three times.
_MOST_DEATHS = 5
_DEATHS_WITHIN_S = 120


def delay(deaths: int) -> float:
    """The seconds until a child is started again: 1, 2, 4, … and at most 30.

    Parameters:
        deaths: how many it has died in a row, this one included.
    """
    return float(min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2 ** min(deaths - 1, 10)))


class Deaths:
    """The deaths of some children: five in two minutes are borne, and no more."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def are_too_many(self, now: float) -> bool:
        """Count a death; ``now`` is of the monotonic clock."""
        self._times.append(now)
        while now - self._times[0] >= _DEATHS_WITHIN_S:
            self._times.popleft()
        return len(self._times) > _MOST_DEATHS
