"""Maintenance: the tasks that beat sends and that any worker does, beside its groups."""

from __future__ import annotations

from celery.utils.log import get_task_logger

from labelmill.core.errors import ServiceUnavailable
from labelmill.recovery.reconciler import reconciling
from labelmill.worker.settings import WorkerSettings

RECONCILE = "labelmill.reconcile"

logger = get_task_logger(__name__)


def reconcile() -> None:
    """Send lost jobs again; a Redis or a database that is away is left to the next sweep."""
    settings = WorkerSettings()
    try:
        with reconciling(
            settings.broker_url,
            settings.database_url,
            settings.reconcile_grace,
            settings.max_waiting,
        ) as reconciler:
            swept = reconciler.sweep()
    except ServiceUnavailable as error:
        logger.warning("cannot look for lost jobs: %s", error)
        return
    logger.info("looked at %d jobs, sent %d again", swept.looked_at, swept.sent)
