"""The worker without a process: runs what waits, at once, where it is called."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from labelmill.broker import message
from labelmill.broker.leases import Lease
from labelmill.core.result import Result
from labelmill.engines.base import Engine
from labelmill.engines.load import AnyEngine
from labelmill.testing.client import InMemoryClient
from labelmill.worker import steps
from labelmill.worker.job import InFlightJob


class InlineWorker:
    """Runs the jobs of an :class:`InMemoryClient`, by the worker's own steps; safe in threads.

    There are no leases, so each job is at its first attempt, and no announcements.

    Parameters:
        client: whose jobs are run; its ``wait`` runs this worker first.
        engines: by model: a :class:`StubEngine`, or a real one of
            :func:`labelmill.engines.load.load_engine`. Jobs of other models go on waiting.
        name: stands in the rows.
        celery_app: an app on the broker ``memory://``, whose jobs that were sent by name are run
            too. All apps of a process share that broker.

    Raises:
        TypeError: a model is given something else than an engine.
    """

    def __init__(
        self,
        client: InMemoryClient,
        engines: Mapping[str, AnyEngine],
        *,
        name: str = "inline@test",
        celery_app: Any = None,
    ) -> None:
        for model, engine in engines.items():
            if not isinstance(engine, Engine):
                raise TypeError(f"give an engine for {model!r}, as a StubEngine, not {engine!r}")
        self.client = client
        self.name = name
        self._engines = dict(engines)
        self._celery_app = celery_app
        self._revoked: set[str] = set()
        self._one_at_a_time = threading.Lock()
        client.before_wait.append(self.run)
        client.served.update(engines)

    def run(self, at: datetime | None = None) -> list[Result]:
        """Run all jobs that wait; returns their rows, as the database has them.

        Parameters:
            at: the moment that it is for the worker, to have jobs come due or expire; by default
                now. A job with a later eta goes on waiting.

        Raises:
            DatabaseUnavailable: the database is away; the jobs in hand are not run again.
        """
        with self._one_at_a_time:
            rows: dict[str, Result] = {}
            for model, engine in self._engines.items():
                self._receive(model)
                while raws := self._take(model, engine, at):
                    rows |= self._run_group(model, engine, raws, at)
            return list(rows.values())

    def revoke(self, *ids: str) -> None:
        """Have jobs fail as revoked, unless they have run."""
        self._revoked.update(ids)

    def _receive(self, model: str) -> None:
        """Take over what the Celery app has sent."""
        if self._celery_app is None:
            return
        with self._celery_app.connection_for_read() as connection:
            channel = connection.default_channel
            while (sent := channel.basic_get(model, no_ack=True)) is not None:
                raw = json.dumps(sent.serializable()).encode()
                self.client.broker.put(model, raw, sent.properties.get("priority") or 0)

    def _take(self, model: str, engine: AnyEngine, at: datetime | None) -> list[bytes]:
        return self.client.broker.take(model, engine.group_size, at or datetime.now(UTC))

    def _run_group(
        self, model: str, engine: AnyEngine, raws: Sequence[bytes], at: datetime | None
    ) -> dict[str, Result]:
        now = at or datetime.now(UTC)
        ended: list[InFlightJob] = []
        admitted: list[InFlightJob] = []
        for number, raw in enumerate(raws):
            lease = Lease(model, str(number).encode(), 1, 0, raw)
            job = InFlightJob(lease, message.decode(raw), now)
            if job.message.eta is not None and job.message.eta > now:
                self.client.broker.delay(model, raw, job.message.eta)
                continue
            job.output = steps.refusal(
                job, engine, max_attempts=1, is_revoked=self._revoked.__contains__
            )
            (ended if job.output else admitted).append(job)
        prepared, failed = steps.prepare(engine, admitted)
        steps.forward(engine, prepared)
        steps.wait(engine, prepared)
        jobs = [*ended, *failed, *prepared]
        outcomes = steps.decode(engine, jobs)
        finished_at = at or datetime.now(UTC)
        rows = [
            steps.row(model, engine, job, outcome, worker=self.name, finished_at=finished_at)
            for job, outcome in zip(jobs, outcomes, strict=True)
        ]
        results = self.client.database.results
        steps.write(results.write, rows)
        return results.get_many([job.id for job in jobs])
