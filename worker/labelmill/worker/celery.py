"""The Celery app: ``celery -A labelmill.worker worker`` finds it here."""

from __future__ import annotations

import os
import warnings

from celery import Celery
from celery.exceptions import SecurityWarning
from celery.utils.log import get_logger

from labelmill.broker.connection import ANSWER_SECONDS
from labelmill.core.catalog import MAINTENANCE_QUEUE
from labelmill.core.job import TASK_NAME
from labelmill.worker import control  # noqa: F401 - registers its commands
from labelmill.worker.consumer import GroupConsumer
from labelmill.worker.maintenance import RECONCILE, reconcile
from labelmill.worker.settings import WorkerSettings

logger = get_logger(__name__)

_NO_RESULTS = "labelmill.worker.no_results:NoResults"


def make_app(settings: WorkerSettings) -> Celery:
    """A Celery app whose workers run the group consumer.

    Celery keeps its command line, its signals, its remote control and ordinary tasks on the
    maintenance queue. Those run in a thread: a pool of processes would fork a process that holds
    models, threads and a device.
    """
    app = Celery("labelmill", broker=settings.broker_url, backend=_NO_RESULTS)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_default_queue=MAINTENANCE_QUEUE,
        worker_pool="threads",
        worker_concurrency=1,
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
        beat_schedule={
            RECONCILE: {
                "task": RECONCILE,
                "schedule": settings.reconcile_every,
                # Where no worker was up for a while, one sweep makes up for all that were missed.
                "options": {"expires": settings.reconcile_every},
            }
        },
        # Without timeouts Celery's loop waits for ever on a Redis that has fallen silent; a
        # connection that is silent is given up after three checks.
        broker_transport_options={
            "socket_timeout": ANSWER_SECONDS,
            "socket_connect_timeout": ANSWER_SECONDS,
            "health_check_interval": int(ANSWER_SECONDS),
        },
    )
    app.steps["worker"].add(GroupConsumer)
    app.task(_misdirected, name=TASK_NAME)
    app.task(reconcile, name=RECONCILE)
    if os.geteuid() != 0:
        # Celery takes an account without an entry in /etc/group, as containers have, for root.
        warnings.filterwarnings("ignore", category=SecurityWarning)
    return app


def _misdirected(*_: object, **__: object) -> None:
    # Without a task of this name Celery would log the message, payload and all.
    logger.error("a job was sent to the queue %r; send it to a model's queue", MAINTENANCE_QUEUE)


app = make_app(WorkerSettings())
