"""The queues: where the jobs of a model wait, are leased and are buried in Redis.

The lists are those of kombu's Redis transport: one for each priority step, named after the queue;
producers push on the left and the oldest message is on the right. The rest is ours, under
``labelmill:<queue>:``.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

#: kombu's defaults (``priority_steps``, ``sep``); the first step is the most urgent.
PRIORITY_STEPS = (0, 3, 6, 9)
_PRIORITY_SEPARATOR = "\x06\x16"

#: Set: the lists of dead letters that there are, or were.
DEAD_LISTS = "labelmill:dead"


@dataclass(frozen=True, slots=True)
class QueueKeys:
    """The Redis keys of one queue."""

    queue: str

    @property
    def lists(self) -> list[str]:
        """The lists that producers push to, the most urgent first."""
        return [self.list_name(step) for step in PRIORITY_STEPS]

    def list_name(self, priority: int) -> str:
        """The list that a producer pushes a job of this priority (0 to 9) to."""
        step = PRIORITY_STEPS[bisect_right(PRIORITY_STEPS, priority) - 1]
        return self.queue if step == 0 else f"{self.queue}{_PRIORITY_SEPARATOR}{step}"

    @property
    def messages(self) -> str:
        """Hash: delivery number → message, for every job leased or delayed."""
        return f"labelmill:{self.queue}:messages"

    @property
    def attempts(self) -> str:
        """Hash: delivery number → attempt number, the fencing token."""
        return f"labelmill:{self.queue}:attempts"

    @property
    def deadlines(self) -> str:
        """Sorted set: delivery number by the end of its lease (ms of the server's clock)."""
        return f"labelmill:{self.queue}:deadlines"

    @property
    def delayed(self) -> str:
        """Sorted set: delivery number by its eta (ms of the server's clock)."""
        return f"labelmill:{self.queue}:delayed"

    @property
    def unstarted(self) -> str:
        """Hash: worker → the group that it was handed and has not said that it has."""
        return f"labelmill:{self.queue}:unstarted"

    @property
    def excused(self) -> str:
        """Hash: delivery number → those of its attempts that a worker has outlived."""
        return f"labelmill:{self.queue}:excused"

    @property
    def seen(self) -> str:
        """A key that is there while workers ask for jobs, and gone a while after nobody could."""
        return f"labelmill:{self.queue}:seen"

    @property
    def deliveries(self) -> str:
        """Counter: the last delivery number given."""
        return f"labelmill:{self.queue}:deliveries"

    @property
    def dead(self) -> str:
        """List: the dead letters, the newest on the left."""
        return f"labelmill:{self.queue}:dead"

    @property
    def dead_reasons(self) -> str:
        """Hash: job's id → why it is a dead letter, of those that the database has no row of."""
        return f"labelmill:{self.queue}:dead-reasons"
