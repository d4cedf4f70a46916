"""The services of a gateway: what its requests share, opened and closed with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, fields
from typing import Annotated, cast

import redis
from fastapi import Depends, Request

from labelmill.broker.announcements import AnnouncementStream
from labelmill.broker.connection import open_broker
from labelmill.client import Client
from labelmill.core.errors import BrokerUnavailable, DatabaseUnavailable, UploadStoreUnavailable
from labelmill.core.run import Run
from labelmill.db.database import Database
from labelmill.gateway.auth import Authenticator
from labelmill.gateway.cache import Cached
from labelmill.gateway.executors import Executor
from labelmill.gateway.jobs import JobFinder
from labelmill.gateway.models import Models
from labelmill.gateway.queues import Queues
from labelmill.gateway.rate_limit import RateLimiter
from labelmill.gateway.settings import GatewaySettings
from labelmill.gateway.summaries import Summaries
from labelmill.gateway.watcher import Watcher
from labelmill.gateway.write_batcher import WriteBatcher
from labelmill.media.uploads import UploadStore
from labelmill.recovery.dead_letters import DeadLetters

_THREADS = 8
_DECODERS = 2  # an image of the most pixels takes some hundred MB while it is made small
_LISTENERS = 2  # the watcher, and streams that catch up
_LISTEN_SECONDS = 10
_FRESH_SECONDS = 0.5
_COUNTERS = 2
_COUNT_SECONDS = 120
_PENDING_JOBS = 20_000


@dataclass(frozen=True, slots=True)
class Executors:
    """Threads for each of the services that a gateway asks."""

    redis: Executor
    events: Executor
    database: Executor
    summaries: Executor
    files: Executor
    images: Executor

    @classmethod
    def of(cls, seconds: float) -> Executors:
        """Those that wait so long for Redis and the database, and longer for what takes longer."""
        return cls(
            redis=Executor("redis", _THREADS, seconds, BrokerUnavailable),
            events=Executor("events", _LISTENERS, _LISTEN_SECONDS, BrokerUnavailable),
            database=Executor("database", _THREADS, seconds, DatabaseUnavailable),
            summaries=Executor("summaries", _COUNTERS, _COUNT_SECONDS, DatabaseUnavailable),
            files=Executor("files", _THREADS, 6 * seconds, UploadStoreUnavailable),
            images=Executor("images", _DECODERS, 6 * seconds, UploadStoreUnavailable),
        )

    def close(self) -> None:
        """Start no more calls."""
        for field in fields(self):
            getattr(self, field.name).close()


@dataclass(frozen=True, slots=True)
class Services:
    """What the requests share."""

    settings: GatewaySettings
    is_open: bool
    models: Models
    authenticator: Authenticator
    rates: RateLimiter
    broker: redis.Redis
    database: Database
    dead: DeadLetters
    uploads: UploadStore
    executors: Executors
    queues: Queues
    job_finder: JobFinder
    write_batcher: WriteBatcher
    watcher: Watcher
    summaries: Summaries
    newest_run: Cached[list[Run]]


@asynccontextmanager
async def opened(settings: GatewaySettings, *, is_open: bool) -> AsyncIterator[Services]:
    """The services, as long as the block runs; they connect when they are first used.

    Parameters:
        is_open: whether only this machine can ask, so that no token is needed while there is none.

    Raises:
        ConfigurationError: a setting cannot be used.
    """
    seconds = settings.answer_seconds
    models = Models(settings.models_file)
    uploads = UploadStore.open(settings.upload_store)
    executors = Executors.of(seconds)
    broker = open_broker(settings.broker_url, answer_seconds=seconds)
    queues = Queues(broker, executors.redis, models.catalog, settings.max_waiting)
    with (
        closing(executors),
        broker,
        AnnouncementStream(settings.broker_url) as events,
        Database.open(settings.database_url) as database,
        Client(settings.broker_url, settings.database_url) as client,
    ):
        jobs = JobFinder(database, executors.database, queues)
        write_batcher = WriteBatcher(client, database, seconds, _PENDING_JOBS)
        watcher = Watcher(
            events,
            executors.events,
            jobs,
            database.results,
            executors.database,
            settings.max_event_streams,
        )
        watcher.start()
        try:
            yield Services(
                settings=settings,
                is_open=is_open,
                models=models,
                authenticator=Authenticator(database.tokens, executors.database),
                rates=RateLimiter(settings, executors.redis),
                broker=broker,
                database=database,
                dead=DeadLetters(broker, database),
                uploads=uploads,
                executors=executors,
                queues=queues,
                job_finder=jobs,
                write_batcher=write_batcher,
                watcher=watcher,
                summaries=Summaries(database.results, executors.summaries, seconds),
                # The cheapest way to ask whether the database answers and has its tables.
                newest_run=Cached(
                    lambda: executors.database.run(database.runs.newest, 1), _FRESH_SECONDS
                ),
            )
        finally:
            await watcher.close()
            await write_batcher.close()


def _services(request: Request) -> Services:
    return cast("Services", request.app.state.services)


Shared = Annotated[Services, Depends(_services)]
"""The parameter of a route by which it gets the services."""
