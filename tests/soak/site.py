"""The site: the servers, the ways to them, and the processes that a soak runs on."""

from __future__ import annotations

import random
import sys
from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import redis

from labelmill.client import Client
from labelmill.core.closing import Closeable
from labelmill.db.schema import upgrade
from labelmill.local.postgres import PostgresServer
from labelmill.local.redis import RedisServer
from tests.soak.post import End, Post
from tests.soak.refusal import refuse_some_rows
from tests.soak.submissions import Submissions
from tests.support.audit import Audit
from tests.support.proxy import Proxy
from tests.support.worker import SCRIPTED_MODELS, Workers

T = TypeVar("T", bound=Hashable)
Server = Literal["redis", "postgresql"]

GROUP_SIZE = 32
_SWEEP_EVERY_S = 5
_SWEEP_GRACE_S = 15


#: What a fault may have for itself, beside a line or a post.
SERVERS = ("redis", "postgresql", "sqlite")


class Busy(Exception):
    """Another fault has what this one needs."""


class Site(Closeable):
    """Servers, a proxy for each who reaches each of them, workers and a reconciler.

    Parameters:
        folder: for data and logs.
        database: ``postgresql`` or ``sqlite``.
        lease: seconds that a lease lasts.
        number: of workers.

    Attributes:
        lease: as given.
        lines: the proxies, by the server that they lead to.
        submissions: what was submitted here.
    """

    def __init__(self, folder: Path, database: str, lease: float, number: int) -> None:
        self.folder = folder
        self.submissions = Submissions()
        self.lines: dict[Server, list[Proxy]] = {"redis": [], "postgresql": []}
        self._taken: set[Hashable] = set()
        self.lease = lease
        self._closing = ExitStack()
        with ExitStack() as starting:
            self.redis = starting.enter_context(RedisServer(folder / "redis", appendonly=True))
            self.postgresql: PostgresServer | None = None
            self.database_url = f"sqlite:///{folder / 'labelmill.db'}"
            if database == "postgresql":
                self.postgresql = starting.enter_context(PostgresServer())
                self.database_url = self.postgresql.url
            self.start_redis()
            upgrade(self.database_url)
            self.audit = Audit(self.database_url)
            self.audit.begin()
            refuse_some_rows(self.audit)
            self.workers = [
                Post(f"worker{i}", self._processes(starting, f"post{i}")) for i in range(number)
            ]
            sweeps = ("--every", str(_SWEEP_EVERY_S), "--grace", str(_SWEEP_GRACE_S))
            self.reconciler = Post(
                "reconciler",
                self._processes(starting, "reconciler"),
                (sys.executable, "-m", "labelmill", "reconcile", *sweeps),
            )
            self.commands = Workers(self.redis.url, self.database_url, folder, place="command")
            self._configure(self.commands)
            starting.callback(self.commands.stop)
            self._closing = starting.pop_all()

    @property
    def posts(self) -> list[Post]:
        """The workers and the reconciler."""
        return [*self.workers, self.reconciler]

    @property
    def ends(self) -> list[End]:
        """The processes that ended, though nobody had asked for it."""
        return [end for post in self.posts for end in post.ends]

    def look(self) -> None:
        """Start again what has ended."""
        for post in self.posts:
            post.look()

    def start_redis(self) -> None:
        """Start Redis, if it does not run; what it has acknowledged it never loses."""
        self.redis.start()
        with self.broker() as broker:
            # Every second, it would put off what it has acknowledged while the disk is slow.
            broker.config_set("appendfsync", "always")

    def broker(self) -> redis.Redis:
        """A way to Redis that no fault is built into."""
        return redis.Redis.from_url(self.redis.url, socket_timeout=5)

    def client(self) -> Client:
        """A client by ways to the servers that no fault is built into."""
        return Client(self.redis.url, self.database_url)

    def failing_client(self) -> Client:
        """A client by ways of its own, which can be made to fail."""
        return Client(*self._ways(self._closing))

    @contextmanager
    def taking(self, *things: Hashable) -> Iterator[None]:
        """Have things to oneself within the block.

        Raises:
            Busy: another fault has one of them.
        """
        self.need(*things)
        self._taken |= set(things)
        try:
            yield
        finally:
            self._taken -= set(things)

    def need(self, *things: Hashable) -> None:
        """Have it that nobody has one of these things just now.

        Raises:
            Busy: somebody does.
        """
        if self._taken & set(things):
            raise Busy

    def one_of(self, things: Sequence[T], chance: random.Random) -> T:
        """One that nobody has.

        Raises:
            Busy: other faults have all of them.
        """
        free = [each for each in things if each not in self._taken]
        if not free:
            raise Busy
        return chance.choice(free)

    def close(self) -> None:
        """End everything."""
        self._closing.close()

    def _processes(self, closing: ExitStack, place: str) -> Workers:
        folder = self.folder / place
        folder.mkdir()
        workers = Workers(*self._ways(closing), folder, place=place)
        self._configure(workers)
        closing.callback(workers.stop)
        return workers

    def _configure(self, workers: Workers) -> None:
        workers.configure(
            f"{SCRIPTED_MODELS}group_size = {GROUP_SIZE}\n",
            lease_seconds=str(self.lease),
            cache_dir=str(self.folder / "cache"),
        )

    def _ways(self, closing: ExitStack) -> tuple[str, str]:
        """The URLs of Redis and the database, by proxies of their own."""
        to_redis = closing.enter_context(Proxy(self.redis.port))
        self.lines["redis"].append(to_redis)
        if self.postgresql is None:
            return to_redis.url_of(self.redis.url), self.database_url
        to_database = closing.enter_context(Proxy(self.postgresql.port))
        self.lines["postgresql"].append(to_database)
        return to_redis.url_of(self.redis.url), to_database.url_of(self.database_url)
