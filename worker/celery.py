"""The Celery app: ``celery -A worker worker`` finds it here."""

from __future__ import annotations

from celery import Celery

from producer.contract.queues import MAINTENANCE_QUEUE
from worker import control  # noqa: F401 - registers its commands
from worker.consumer import GroupConsumer
from worker.settings import WorkerSettings


def make_app(settings: WorkerSettings) -> Celery:
    """A Celery app whose workers run the group consumer.

    Celery keeps its command line, its signals, its remote control and ordinary tasks on the
    maintenance queue. Those run in a thread: a pool of processes would fork a process that holds
    models, threads and a device.
    """
    app = Celery("labelmill", broker=settings.broker_url)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_default_queue=MAINTENANCE_QUEUE,
        worker_pool="threads",
        worker_concurrency=1,
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
    )
    app.steps["worker"].add(GroupConsumer)
    return app


app = make_app(WorkerSettings())
