"""The group consumer: the bootstep by which a Celery worker runs the pipeline."""

from __future__ import annotations

import gc
from typing import Any

import click
from celery import bootsteps
from celery.signals import celeryd_init, worker_shutting_down
from celery.utils.log import get_logger
from celery.worker import state as celery_state

from labelmill.broker.connection import broker_errors, open_broker
from labelmill.core import exit_codes
from labelmill.core.catalog import MAINTENANCE_QUEUE, OLD_MAINTENANCE_QUEUE, Catalog
from labelmill.core.errors import ConfigurationError, LabelmillError
from labelmill.db import schema
from labelmill.db.database import Database
from labelmill.engines.load import load_engine
from labelmill.worker.ending import EarlyEnd
from labelmill.worker.environment import celerys_context
from labelmill.worker.maintenance import OldQueue
from labelmill.worker.pipeline import Pipeline
from labelmill.worker.presence import Presence
from labelmill.worker.settings import WorkerSettings
from labelmill.worker.watchdog import Watchdog

logger = get_logger(__name__)

_TAKE_OVER_SECONDS = 5
_ANSWER_SECONDS = 1.0

# The pools that have neither processes, which would be forked with models, threads and a device,
# nor threads that are none.
_POOLS = ("celery.concurrency.thread", "celery.concurrency.solo")


class GroupConsumer(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Loads the models before the worker is ready, and runs the pipeline beside Celery's loop.

    Celery's own consumer keeps to the maintenance queue: a queue that is named with ``-Q`` and is
    a model's is served by the pipeline and hidden from kombu, which would pop its messages.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(
        self,
        worker: Any,
        *,
        early_end: EarlyEnd | None = None,
        presence: Presence | None = None,
        beat: bool = False,
        **kwargs: Any,
    ) -> None:
        self.pipeline: Pipeline  # made by create, before anything else is called
        self._early_end = early_end
        self._presence = presence
        self._beat = beat
        worker.group_consumer = self
        super().__init__(worker, **kwargs)

    def create(self, worker: Any) -> None:
        """Load the models.

        Raises:
            LabelmillError: an option, a setting, a model or the database cannot be used, or the
                name is taken; the worker ends.
        """
        self._early_end = self._early_end or EarlyEnd()
        try:
            _check_options(worker, beat=self._beat)
            self._load(worker)
        except BaseException as error:
            if self._presence is not None:
                self._presence.close()
            if isinstance(error, LabelmillError) and celerys_context():
                raise _ended(error) from None
            raise

    def _load(self, worker: Any) -> None:
        settings = WorkerSettings()
        catalog = _served(worker.app, settings)
        if self._presence is None:
            self._presence = Presence.claim([worker.hostname], settings)
        self._presence.loads(catalog)
        assert self._early_end is not None  # noqa: S101 - create has made one
        self._early_end.presence = self._presence
        self._database = Database.open(settings.database_url)
        schema.require_current(self._database.engine)
        engines = {}
        for alias, spec in catalog.items():
            logger.info("loading %s: %s", alias, spec.checkpoint)
            engines[alias] = load_engine(spec, settings)
        with broker_errors():
            self.pipeline = Pipeline(
                worker.hostname,
                self._presence.heartbeat,
                engines,
                self._database,
                settings,
                is_revoked=celery_state.revoked.__contains__,
                on_death=_end_worker,
            )
        self._watchdog = Watchdog(self.pipeline, settings)
        worker_shutting_down.connect(self._watchdog.hear)
        broker = open_broker(settings.broker_url, answer_seconds=_ANSWER_SECONDS)
        self._old_queue = OldQueue(
            broker, [name for name in worker.app.tasks if not name.startswith("celery.")]
        )

    def start(self, worker: Any) -> None:
        """Begin to take jobs."""
        # Libraries and models stay for good. A full collection of garbage would walk through them
        # again and again, while all threads stand still: a seventh of a second every few seconds.
        gc.collect()
        gc.freeze()
        assert self._presence is not None and self._early_end is not None  # noqa: S101, PT018
        self._presence.hand_over()
        self.pipeline.start()
        self._watchdog.start()
        self._early_end.leave_to_celery()
        self._old_queue.take_over()
        worker.timer.call_repeatedly(_TAKE_OVER_SECONDS, self._old_queue.take_over)
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


@celeryd_init.connect  # type: ignore[untyped-decorator]
def _note_excluded(instance: Any, options: dict[str, Any], **_: Any) -> None:
    # Celery tells bootsteps all options but this one.
    instance.excluded_queues = options.get("exclude_queues") or []


def _check_options(worker: Any, *, beat: bool) -> None:
    """Refuse the options that would harm the pipeline, or do nothing."""
    if worker.pool_cls.__module__ not in _POOLS:
        raise ConfigurationError(
            "-P: models and their device are not shared with a pool's processes or green threads; "
            "leave it out, and start more workers for more jobs"
        )
    if worker.autoscale:
        raise ConfigurationError(
            "--autoscale: a worker has one device, and its pool one thread; start more workers "
            "(labelmill worker --per-device, docs/how-to/scale.md)"
        )
    if beat:
        raise ConfigurationError(
            "-B would fork a process that holds models and a device; run it beside the workers: "
            "celery -A labelmill.worker beat"
        )
    excluded = [
        name
        for name in worker.excluded_queues
        if name not in (MAINTENANCE_QUEUE, OLD_MAINTENANCE_QUEUE)
    ]
    if excluded:
        raise ConfigurationError(
            f"-X {','.join(excluded)}: name the models to serve instead, by -Q or LABELMILL_MODELS"
        )


def _ended(error: LabelmillError) -> click.ClickException:
    """As which the ``celery`` command ends in one line."""
    ended = click.ClickException(str(error))
    ended.exit_code = exit_codes.of(error)  # type: ignore[misc]
    return ended


def _served(app: Any, settings: WorkerSettings) -> Catalog:
    """The models this worker serves; takes their queues away from Celery's own consumer."""
    catalog = Catalog.load(settings.models_file)
    queues = app.amqp.queues
    own = (MAINTENANCE_QUEUE, OLD_MAINTENANCE_QUEUE)
    named = [name for name in queues.consume_from if name not in own]
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
