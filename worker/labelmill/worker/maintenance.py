"""Maintenance: the tasks that beat sends and that any worker does, beside its groups."""

from __future__ import annotations

from collections.abc import Iterable

import redis
from celery.utils.log import get_task_logger

from labelmill.broker.queues import QueueKeys
from labelmill.core.catalog import MAINTENANCE_QUEUE, OLD_MAINTENANCE_QUEUE
from labelmill.core.errors import ServiceUnavailable
from labelmill.recovery.reconciler import reconciling
from labelmill.worker.settings import WorkerSettings

RECONCILE = "labelmill.reconcile"

logger = get_task_logger(__name__)

# In another application's list, of which the newest are on the left, ours may be anywhere.
_LOOKED_AT = 1000
_TAKE_OVER = """
if redis.call('TYPE', KEYS[1]).ok ~= 'list' then return 0 end
local ours, moved = {}, 0
for place = 2, #ARGV do ours[ARGV[place]] = true end
local entries = redis.call('LRANGE', KEYS[1], 0, ARGV[1] - 1)
for place = #entries, 1, -1 do
    local read, message = pcall(cjson.decode, entries[place])
    local headers = read and type(message) == 'table' and message.headers
    if type(headers) == 'table' and ours[headers.task] then
        redis.call('LREM', KEYS[1], 1, entries[place])
        redis.call('LPUSH', KEYS[2], entries[place])
        moved = moved + 1
    end
end
return moved
"""


class OldQueue:
    """The queue in which older versions keep maintenance; other applications may have one, too.

    Parameters:
        tasks: the names of our tasks.
    """

    def __init__(self, broker: redis.Redis, tasks: Iterable[str]) -> None:
        self._take_over = broker.register_script(_TAKE_OVER)
        self._tasks = sorted(tasks)

    def take_over(self) -> None:
        """Move what an older version's beat has sent to today's queue; the rest is not touched."""
        old, new = QueueKeys(OLD_MAINTENANCE_QUEUE), QueueKeys(MAINTENANCE_QUEUE)
        try:
            for keys in zip(old.lists, new.lists, strict=True):
                self._take_over(keys=list(keys), args=[_LOOKED_AT, *self._tasks])
        except (redis.RedisError, OSError) as error:
            logger.debug("cannot look for old maintenance: %s", type(error).__name__)


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
