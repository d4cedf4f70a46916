"""The client without servers: the queue in memory, the database a file that goes with it."""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import event

from labelmill.broker import message
from labelmill.broker.queues import QueueKeys
from labelmill.client import Client
from labelmill.core.errors import BrokerUnavailable, WaitTimeout
from labelmill.core.job import SubmittedJob
from labelmill.core.result import Result
from labelmill.db.database import Database
from labelmill.db.errors import translated
from labelmill.db.tables import metadata


class InMemoryBroker:
    """The queues of a test; safe to share between threads.

    Attributes:
        away: set it, and publishing fails as if Redis did not answer.
    """

    def __init__(self) -> None:
        self.away = False
        self._lists: defaultdict[str, list[bytes]] = defaultdict(list)
        self._delayed: defaultdict[str, list[tuple[datetime, bytes]]] = defaultdict(list)
        self._lock = threading.Lock()

    def publish(self, jobs: Sequence[SubmittedJob]) -> None:
        """Put jobs into their queues, as the messages that Redis would be given.

        Raises:
            BrokerUnavailable: it is told to be away.
        """
        if self.away:
            raise BrokerUnavailable("the broker of this test is away")
        for job in jobs:
            self.put(job.model, message.encode(job), job.priority)

    def put(self, queue: str, raw: bytes, priority: int = 0) -> None:
        """Put a message into a queue: one as Celery writes it, or what a stranger may write."""
        with self._lock:
            self._lists[QueueKeys(queue).list_name(priority)].append(raw)

    def take(self, queue: str, most: int, now: datetime) -> list[bytes]:
        """Take messages out: delayed ones that are due, then the most urgent, then the oldest."""
        with self._lock:
            delayed = self._delayed[queue]
            taken = [raw for eta, raw in delayed if eta <= now][:most]
            del delayed[: len(taken)]  # the first are due first
            for name in QueueKeys(queue).lists:
                waiting = self._lists[name]
                count = most - len(taken)
                taken += waiting[:count]
                del waiting[:count]
        return taken

    def delay(self, queue: str, raw: bytes, eta: datetime) -> None:
        """Keep a message until its time."""
        with self._lock:
            self._delayed[queue].append((eta, raw))
            self._delayed[queue].sort(key=itemgetter(0))

    def withdraw(self, result: Result) -> None:
        """Take a cancelled job out of its queue."""
        with self._lock:
            for name in QueueKeys(result.model).lists:
                kept = [raw for raw in self._lists[name] if message.decode(raw).id != result.id]
                self._lists[name] = kept
            self._delayed[result.model] = [
                (eta, raw)
                for eta, raw in self._delayed[result.model]
                if message.decode(raw).id != result.id
            ]

    def waiting(self, queue: str) -> int:
        """How many messages wait in a queue, delayed ones included."""
        with self._lock:
            lists = sum(len(self._lists[name]) for name in QueueKeys(queue).lists)
            return lists + len(self._delayed[queue])

    def clear(self) -> None:
        """Lose everything, as a Redis without persistence does when it ends."""
        with self._lock:
            self._lists.clear()
            self._delayed.clear()

    def close(self) -> None:
        """Nothing is held open; what waits stays."""


class InMemoryClient(Client):
    """A client whose jobs wait in this process, until an :class:`InlineWorker` runs them.

    All else is the client's own: validation, ids, the ledger, duplicates, runs, transactions.

    Parameters:
        database_url: the database of a test of yours, SQLite or PostgreSQL, where what is tested
            has tables of its own; our tables are made where they are missing. By default a
            temporary SQLite file, deleted by :meth:`close`.

    Attributes:
        broker: the queues.
        database: the ledger and the results, to look into.
        database_url: where they are, for a database engine or a result backend of yours.
        before_wait: called at the beginning of each :meth:`wait`.
        served: the models that a worker of this client has an engine for.

    Raises:
        ConfigurationError: the URL cannot be used.
        DatabaseUnavailable: the database is away.
    """

    def __init__(self, database_url: str | None = None) -> None:
        self._folder: TemporaryDirectory[str] | None = None
        if database_url is None:
            self._folder = TemporaryDirectory(prefix="labelmill-")
            file = Path(self._folder.name) / "labelmill.db"
            file.write_bytes(_empty_database())
            database_url = f"sqlite:///{file}"
        self.database_url = database_url
        self.database = Database.open(database_url, "" if self._folder is not None else None)
        if self._folder is None:
            _make_tables(self.database)
        else:
            event.listen(self.database.engine, "connect", _do_not_sync)
        self.broker = InMemoryBroker()
        self.before_wait: list[Callable[[], object]] = []
        self.served: set[str] = set()
        self._connect(self.broker, self.database)

    def wait(self, job_id: str, timeout: float = 30.0) -> Result:
        """The job's row; the workers of this client run what waits first.

        It never sleeps: nothing else would write the row.

        Raises:
            WaitTimeout: there is none, at once; says so where no worker serves the job's model.
            DatabaseUnavailable: the database is away.
        """
        for run in self.before_wait:
            run()
        try:
            return super().wait(job_id, timeout=0)
        except WaitTimeout:
            job = self.database.jobs.get(job_id)
            if job is None or job.model in self.served:
                raise
            raise WaitTimeout(
                f"no InlineWorker of this client has an engine for the model {job.model!r}; there"
                f" are engines for: {', '.join(sorted(self.served)) or 'none'}"
            ) from None

    def close(self) -> None:
        """Give up the connections, and the temporary database."""
        super().close()
        if self._folder is not None:
            self._folder.cleanup()


def _do_not_sync(connection: sqlite3.Connection, _entry: object) -> None:
    # The file need not survive a power cut, and waiting for the disk takes most of a test's time.
    connection.execute("PRAGMA synchronous=OFF")


def _make_tables(database: Database) -> None:
    with translated(database.engine):
        metadata.create_all(database.engine)


@cache
def _empty_database() -> bytes:
    """The file of a database without rows; to copy it is faster than to make its tables."""
    with TemporaryDirectory(prefix="labelmill-") as folder:
        file = Path(folder) / "labelmill.db"
        with Database.open(f"sqlite:///{file}", schema="") as database:
            _make_tables(database)
        return file.read_bytes()
