"""The Celery app: ``celery -A labelmill.worker worker`` finds it here."""

from __future__ import annotations

import os
import warnings

from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import after_setup_logger
from celery.utils.log import get_logger

from labelmill.broker.connection import ANSWER_SECONDS, plain_url
from labelmill.core.catalog import MAINTENANCE_QUEUE
from labelmill.core.errors import ConfigurationError
from labelmill.core.job import TASK_NAME
from labelmill.worker import control  # noqa: F401 - registers its commands
from labelmill.worker.consumer import GroupConsumer
from labelmill.worker.environment import celerys_context, forget_others, refuse
from labelmill.worker.maintenance import RECONCILE, reconcile
from labelmill.worker.settings import WorkerSettings
from labelmill.worker.transport import TRANSPORT

logger = get_logger(__name__)

_NO_RESULTS = "labelmill.worker.no_results:NoResults"
_APP_LOADER = "celery.loaders.app:AppLoader"


def make_app(settings: WorkerSettings) -> Celery:
    """A Celery app whose workers run the group consumer.

    Celery keeps its command line, its signals, its remote control and ordinary tasks on the
    maintenance queue. Those run in a thread: a pool of processes would fork a process that holds
    models, threads and a device.
    """
    app = Celery(
        "labelmill",
        broker=plain_url(settings.broker_url),
        backend=_NO_RESULTS,
        loader=_APP_LOADER,
        fixups=[],  # those of Django, which is another app's
    )
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_default_queue=MAINTENANCE_QUEUE,
        worker_pool="threads",
        worker_concurrency=1,
        worker_prefetch_multiplier=1,
        # Nothing that Redis says, and no time that it is away, ends the loop.
        broker_transport=TRANSPORT,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,
        worker_consumer="labelmill.worker.celerys_loop:Consumer",
        # What has to be done every minute need not be remembered over a restart, in a file.
        beat_scheduler="celery.beat:Scheduler",
        beat_schedule={
            RECONCILE: {
                "task": RECONCILE,
                "schedule": settings.reconcile_every,
                # Where no worker was up for a while, one sweep makes up for all that were missed.
                "options": {"expires": settings.reconcile_every},
            }
        },
        broker_transport_options={
            # A connection that is silent is given up after three checks.
            "health_check_interval": int(ANSWER_SECONDS),
            # Other Celery apps may share this Redis, each with its own idea of when a message that
            # nobody has acknowledged is sent again.
            "unacked_key": "labelmill:unacked",
            "unacked_index_key": "labelmill:unacked_index",
            "unacked_mutex_key": "labelmill:unacked_mutex",
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


_forgotten = forget_others()

try:
    app = make_app(WorkerSettings())
except ConfigurationError as error:
    if celerys_context():
        refuse(str(error))
    raise


@after_setup_logger.connect  # type: ignore[untyped-decorator]
def _tell_forgotten(**_: object) -> None:
    if _forgotten:
        logger.warning(
            "not read: %s; LABELMILL_BROKER_URL says where the worker connects",
            ", ".join(_forgotten),
        )
