"""Publishing: jobs onto Redis lists, many in one round trip, through kombu."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import kombu
from kombu import pools
from kombu.exceptions import BatchPublishError, OperationalError

from db.errors import BrokerUnavailable
from producer.contract import message
from producer.contract.job import Job

_TIMEOUT_SECONDS = 5  # a producer is told soon that Redis is away
_PIPELINED = 1000  # commands sent in one round trip


@dataclass(frozen=True, slots=True)
class Publication:
    """One job on its way to its queue."""

    queue: str
    id: str
    job: Job
    enqueued_at: datetime
    priority: int = 0
    eta: datetime | None = None
    expires: datetime | None = None


class Publisher:
    """Publishes jobs as Celery messages; safe to share between threads.

    Parameters:
        broker_url: the Redis to publish to.
    """

    def __init__(self, broker_url: str) -> None:
        self._connection = kombu.Connection(
            broker_url,
            transport_options={
                "socket_timeout": _TIMEOUT_SECONDS,
                "socket_connect_timeout": _TIMEOUT_SECONDS,
            },
        )

    def publish(self, publications: Sequence[Publication]) -> None:
        """Publish jobs in one pipeline.

        Raises:
            BrokerUnavailable: Redis does not answer or refuses; some may have been published.
        """
        errors = (
            BatchPublishError,
            OperationalError,
            *self._connection.connection_errors,
            *self._connection.channel_errors,
        )
        try:
            with (
                pools.producers[self._connection].acquire(block=True) as producer,
                producer.batch(max_size=_PIPELINED),
            ):
                for publication in publications:
                    _publish(producer, publication)
        except errors as error:
            raise BrokerUnavailable(
                f"Redis does not take jobs ({type(error.__cause__ or error).__name__}); "
                "check LABELMILL_BROKER_URL, that the server runs and has memory left; "
                "then submit again"
            ) from error

    def close(self) -> None:
        """Give up the connections."""
        pools.producers[self._connection].force_close_all()
        pools.connections[self._connection].force_close_all()
        self._connection.release()


def _publish(producer: kombu.Producer, publication: Publication) -> None:
    producer.publish(
        message.body(publication.job.to_kwargs()),
        serializer="json",
        exchange="",
        routing_key=publication.queue,
        correlation_id=publication.id,
        priority=publication.priority,
        headers=message.headers(
            publication.id,
            enqueued_at=publication.enqueued_at,
            eta=publication.eta,
            expires=publication.expires,
        ),
        retry=False,
    )
