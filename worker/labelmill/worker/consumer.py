"""The group consumer: the bootstep by which a Celery worker runs the pipeline."""

from __future__ import annotations

import gc
from typing import Any

import redis
from celery import bootsteps
from celery.signals import worker_shutting_down
from celery.utils.log import get_logger
from celery.worker import state as celery_state

from labelmill.core.catalog import MAINTENANCE_QUEUE, Catalog
from labelmill.core.errors import ConfigurationError
from labelmill.db import schema
from labelmill.db.database import Database
from labelmill.engines.load import load_engine
from labelmill.worker.pipeline import Pipeline
from labelmill.worker.settings import WorkerSettings
from labelmill.worker.watchdog import Watchdog

logger = get_logger(__name__)


class GroupConsumer(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Loads the models before the worker is ready, and runs the pipeline beside Celery's loop.

    Celery's own consumer keeps to the maintenance queue: a queue that is named with ``-Q`` and is
    a model's is served by the pipeline and hidden from kombu, which would pop its messages.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        self.pipeline: Pipeline  # made by create, before anything else is called
        worker.group_consumer = self
        super().__init__(worker, **kwargs)

    def create(self, worker: Any) -> None:
        """Load the models.

        Raises:
            LabelmillError: a setting, a model or the database cannot be used; the worker ends.
        """
        settings = WorkerSettings()
        catalog = _served(worker.app, settings)
        self._database = Database.open(settings.database_url)
        schema.require_current(self._database.engine)
        engines = {}
        for alias, spec in catalog.items():
            logger.info("loading %s: %s", alias, spec.checkpoint)
            engines[alias] = load_engine(spec, settings)
        self.pipeline = Pipeline(
            worker.hostname,
            engines,
            self._database,
            settings,
            is_revoked=celery_state.revoked.__contains__,
            on_death=_end_worker,
        )
        self._watchdog = Watchdog(self.pipeline, settings)
        worker_shutting_down.connect(self._watchdog.hear)

    def start(self, worker: Any) -> None:
        """Begin to take jobs."""
        # Libraries and models stay for good. A full collection of garbage would walk through them
        # again and again, while all threads stand still: a seventh of a second every few seconds.
        gc.collect()
        gc.freeze()
        # A full Redis refuses Celery's own loop, which would end the worker: who but the workers is
        # to empty it? Remote control comes back when there is room.
        worker.consumer.connection_errors += (redis.exceptions.OutOfMemoryError,)
        self.pipeline.start()
        self._watchdog.start()
        logger.info("serving %s", ", ".join(self.pipeline.state()["models"]))

    def stop(self, worker: Any) -> None:
        """Warm shutdown: finish what is on the device, give the rest back."""
        self.pipeline.stop()
        self._database.close()

    def terminate(self, worker: Any) -> None:
        """Cold shutdown: leave now; the leases expire."""

    def info(self, worker: Any) -> dict[str, Any]:
        """The part of ``celery inspect stats`` that is ours."""
        return {"labelmill": self.pipeline.state()}


def _served(app: Any, settings: WorkerSettings) -> Catalog:
    """The models this worker serves; takes their queues away from Celery's own consumer."""
    catalog = Catalog.load(settings.models_file)
    queues = app.amqp.queues
    named = [name for name in queues.consume_from if name != MAINTENANCE_QUEUE]
    unknown = [name for name in named if name not in catalog]
    if unknown:
        raise ConfigurationError(
            f"-Q {','.join(unknown)}: no such model in {settings.models_file}; "
            f"it has {', '.join(catalog)}"
        )
    queues.select([MAINTENANCE_QUEUE])
    chosen = named or settings.models
    return catalog.select(chosen) if chosen else catalog


def _end_worker(exit_code: int) -> None:
    celery_state.should_stop = exit_code
