"""The queues of Celery's side, and no other.

Celery's own consumer, ``celery purge`` and ``celery amqp`` would pop or delete what lies in a
model's queue, whatever made them look there: a control command, an option, a typing error.
"""

from __future__ import annotations

from typing import Any

from click import ClickException

from labelmill.core import exit_codes
from labelmill.core.catalog import MAINTENANCE_QUEUE
from labelmill.core.errors import ConfigurationError


class ForeignQueue(ConfigurationError, ClickException):
    """A queue that is not for Celery's own consumer; the ``celery`` command says so in a line."""

    exit_code = exit_codes.USAGE

    def __init__(self, queue: str) -> None:
        ClickException.__init__(
            self,
            f"{queue!r} is not for Celery to read or to empty: its own consumer keeps to "
            f"{MAINTENANCE_QUEUE!r}, and a model's queue is the pipeline's",
        )


class GuardedQueues:
    """Put before a channel of kombu's: it consumes, purges and deletes only Celery's own queues."""

    def basic_consume(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        """As the channel's."""
        return super().basic_consume(_checked(queue), *args, **kwargs)  # type: ignore[misc]

    def basic_get(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        """As the channel's."""
        return super().basic_get(_checked(queue), *args, **kwargs)  # type: ignore[misc]

    def queue_purge(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        """As the channel's."""
        return super().queue_purge(_checked(queue), *args, **kwargs)  # type: ignore[misc]

    def queue_delete(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        """As the channel's."""
        return super().queue_delete(_checked(queue), *args, **kwargs)  # type: ignore[misc]


def _checked(queue: str) -> str:
    """The queue, if it is for maintenance, control commands, their answers, or events."""
    if queue == MAINTENANCE_QUEUE or queue.endswith(".pidbox") or queue.startswith("celeryev."):
        return queue
    raise ForeignQueue(queue)
