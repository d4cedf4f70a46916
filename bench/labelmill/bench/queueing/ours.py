"""Our side: the client, and ``labelmill worker`` with whatever model is measured."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import redis

from labelmill.bench.queueing.process import WorkerProcess
from labelmill.bench.queueing.side import Input, Side
from labelmill.bench.tables import ModelTable
from labelmill.broker.heartbeat import heartbeats, is_ready
from labelmill.broker.inspect import QueueInspector
from labelmill.client import Client, NewJob


class OurSide(Side):
    """Labelmill as it comes, with the ledger written before jobs are published.

    Parameters:
        model: the table of the one model that is served.
        image_root: the folder under which images lie.
        settings: further ones of the worker.
    """

    queue = "tickets"

    def __init__(
        self,
        broker_url: str,
        database_url: str,
        model: ModelTable,
        image_root: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = {
            "LABELMILL_BROKER_URL": broker_url,
            "LABELMILL_DATABASE_URL": database_url,
            **({"LABELMILL_IMAGE_ROOT": str(image_root)} if image_root else {}),
            **(settings or {}),
        }
        self._model = model
        self._client = Client(broker_url, database_url)
        self._broker = redis.Redis.from_url(broker_url)
        self._numbers = itertools.count(1)

    def publish(self, inputs: Sequence[Input]) -> list[str]:
        """``Client.submit_many``: ledger, then Redis, a thousand at a time."""
        return self._client.submit_many(self.queue, (_new_job(item) for item in inputs)).ids

    def submit(self, item: Input) -> str:
        """``Client.submit_text`` or ``submit_image``: ledger, then Redis."""
        if isinstance(item, Path):
            return self._client.submit_image(self.queue, item)
        return self._client.submit_text(self.queue, item)

    def worker(self, folder: Path) -> WorkerProcess:
        """``labelmill worker``."""
        models = folder / "models.toml"
        # Strings, numbers and booleans look the same in TOML and in JSON.
        lines = [f"{key} = {json.dumps(value)}" for key, value in self._model.items()]
        models.write_text("\n".join([f"[models.{self.queue}]", *lines, ""]))
        settings = {**self._settings, "LABELMILL_MODELS_FILE": str(models)}
        name = f"worker{next(self._numbers)}@%h"
        return WorkerProcess(["labelmill", "worker", "--name", name], folder, settings)

    def ready(self, workers: int) -> bool:
        """Whether that many are ready."""
        return sum(map(is_ready, heartbeats(self._broker))) >= workers

    def in_flight(self) -> int:
        """Jobs under a lease."""
        return QueueInspector(self._broker).depths([self.queue])[self.queue]["leased"]

    def close(self) -> None:
        """Give up the connections."""
        self._client.close()
        self._broker.close()


def _new_job(item: Input) -> NewJob:
    return NewJob(image=item) if isinstance(item, Path) else NewJob(text=item)
