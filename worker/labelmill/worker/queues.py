"""The queues of Celery's side: the connection that touches no other.

Celery's own consumer, ``celery purge`` and ``celery amqp`` would pop or delete what lies in a
model's queue, whatever made them look there: a control command, an option, a typing error.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from celery.app.amqp import AMQP
from click import ClickException
from kombu.connection import Connection

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


class GuardedConnection(Connection):
    """A connection of kombu's whose channels consume, purge and delete only Celery's own queues."""

    def get_transport_cls(self) -> Any:
        """The transport of the URL, guarded."""
        return _guarded(super().get_transport_cls())  # type: ignore[no-untyped-call]


class GuardedAMQP(AMQP):  # type: ignore[misc]  # Celery has no types
    """What the app opens connections with."""

    Connection = GuardedConnection


@cache
def _guarded(transport: Any) -> Any:
    class Channel(transport.Channel):  # type: ignore[misc]
        def basic_consume(self, queue: str, *args: Any, **kwargs: Any) -> Any:
            return super().basic_consume(_checked(queue), *args, **kwargs)

        def basic_get(self, queue: str, *args: Any, **kwargs: Any) -> Any:
            return super().basic_get(_checked(queue), *args, **kwargs)

        def queue_purge(self, queue: str, *args: Any, **kwargs: Any) -> Any:
            return super().queue_purge(_checked(queue), *args, **kwargs)

        def queue_delete(self, queue: str, *args: Any, **kwargs: Any) -> Any:
            return super().queue_delete(_checked(queue), *args, **kwargs)

    return type(transport.__name__, (transport,), {"Channel": Channel})


def _checked(queue: str) -> str:
    """The queue, if it is for maintenance, control commands, their answers, or events."""
    if queue == MAINTENANCE_QUEUE or queue.endswith(".pidbox") or queue.startswith("celeryev."):
        return queue
    raise ForeignQueue(queue)
