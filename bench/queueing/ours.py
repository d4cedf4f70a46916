"""Our side: the client, and one ``labelmill worker`` with an engine that costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import redis

from bench.queueing.process import WorkerProcess
from bench.queueing.side import Side
from producer.client import Client, NewJob
from producer.contract.queues import queue_depths

_MODELS = """\
[models.{queue}]
task = "text-classification"
checkpoint = "checkpoint"
engine = "bench.engines:NoopEngine"
group_size = {group_size}
"""


class OurSide(Side):
    """Labelmill as it comes, with the ledger written before jobs are published.

    Parameters:
        group_size: the most jobs of a group.
    """

    queue = "tickets"

    def __init__(self, broker_url: str, database_url: str, group_size: int) -> None:
        self._broker_url = broker_url
        self._database_url = database_url
        self._group_size = group_size
        self._client = Client(broker_url, database_url)
        self._broker = redis.Redis.from_url(broker_url)

    def publish(self, texts: Sequence[str]) -> list[str]:
        """``Client.submit_many``: ledger, then Redis, a thousand at a time."""
        return self._client.submit_many(self.queue, (NewJob(text=text) for text in texts)).ids

    def submit(self, text: str) -> str:
        """``Client.submit_text``: ledger, then Redis."""
        return self._client.submit_text(self.queue, text)

    def worker(self, folder: Path) -> WorkerProcess:
        """``labelmill worker``."""
        (folder / "checkpoint").mkdir()
        models = folder / "models.toml"
        models.write_text(_MODELS.format(queue=self.queue, group_size=self._group_size))
        settings = {
            "LABELMILL_BROKER_URL": self._broker_url,
            "LABELMILL_DATABASE_URL": self._database_url,
            "LABELMILL_MODELS_FILE": str(models),
        }
        return WorkerProcess(["labelmill", "worker"], folder, settings)

    def in_flight(self) -> int:
        """Jobs under a lease."""
        return queue_depths(self._broker, [self.queue])[self.queue]["leased"]

    def close(self) -> None:
        """Give up the connections."""
        self._client.close()
        self._broker.close()
