"""Removal: taking a job that nobody has in hand out of its queue."""

from __future__ import annotations

import json
from pathlib import Path

import redis

from labelmill.broker.connection import broker_errors
from labelmill.broker.parts import parts
from labelmill.broker.queues import QueueKeys
from labelmill.broker.scripts import script
from labelmill.core.text import json_bytes

_FOLDER = Path(__file__).parent


class Removal:
    """Takes jobs out of queues.

    Parameters:
        broker: a client with ``decode_responses`` off.
    """

    def __init__(self, broker: redis.Redis) -> None:
        self._remove = script(broker, _FOLDER / "message.lua", _FOLDER / "remove.lua")

    def remove(self, queue: str, job_id: str) -> bool:
        """Take out the messages of a job that wait or are delayed; whether there was one.

        One that a worker has in hand stays there. A queue is looked through until it is found:
        about four seconds for a million, in steps of milliseconds.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        keys = QueueKeys(queue)
        delayed = [keys.delayed, keys.messages, keys.attempts, keys.excused]
        forms: list[bytes | str] = [json_bytes(job_id), json.dumps(job_id), job_id]
        for place in (delayed, *([name] for name in keys.lists)):

            def look(start: int, size: int, place: list[str] = place) -> tuple[int, int, int]:
                with broker_errors():
                    count, total, removed = self._remove(keys=place, args=[start, size, *forms])
                return count, total, removed

            if any(parts(look)):
                return True
        return False
