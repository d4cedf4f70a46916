"""Publishing: jobs onto Redis lists, many in one round trip, through kombu."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kombu.connection import Connection
from kombu.exceptions import BatchPublishError, OperationalError
from kombu.messaging import Producer
from kombu.pools import ProducerPool

from db.errors import BrokerUnavailable
from producer.contract import message
from producer.contract.job import Job

_TIMEOUT_SECONDS = 5  # a producer is told soon that Redis is away
_CONNECTIONS = 8  # threads that publish at the same moment; more wait for each other
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
        connection = Connection(
            broker_url,
            transport_options={
                "socket_timeout": _TIMEOUT_SECONDS,
                "socket_connect_timeout": _TIMEOUT_SECONDS,
            },
        )
        self._errors = (
            BatchPublishError,
            OperationalError,
            *connection.connection_errors,
            *connection.channel_errors,
        )
        # Not kombu's shared pools: closing this publisher would close them for others.
        self._connections = connection.Pool(limit=_CONNECTIONS)
        self._producers = ProducerPool(self._connections, limit=_CONNECTIONS)

    def publish(self, publications: Sequence[Publication]) -> None:
        """Publish jobs in one pipeline.

        Raises:
            BrokerUnavailable: Redis does not answer or refuses; some may have been published.
        """
        try:
            with (
                self._producers.acquire(block=True) as producer,
                producer.batch(max_size=_PIPELINED),
            ):
                for publication in publications:
                    _publish(producer, publication)
        except self._errors as error:
            raise BrokerUnavailable(
                f"Redis does not take jobs ({type(error.__cause__ or error).__name__}); "
                "check LABELMILL_BROKER_URL, that the server runs (labelmill up?) and has memory; "
                "then submit again"
            ) from error

    def close(self) -> None:
        """Give up the connections."""
        self._producers.force_close_all()
        self._connections.force_close_all()


def _publish(producer: Producer, publication: Publication) -> None:
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
