"""Failures: why jobs failed of late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from db.queries import Queries, ResultFilter
from db.tables import Status
from producer.gateway.answers import ErrorCount
from producer.gateway.threads import Threads

_OF_LATE = timedelta(days=1)


async def recent_failures(queries: Queries, threads: Threads) -> list[ErrorCount]:
    """How many jobs failed in the last 24 hours, by error, the most frequent first.

    Raises:
        DatabaseUnavailable: the database is away.
    """
    wanted = ResultFilter(status=Status.FAILED, since=datetime.now(UTC) - _OF_LATE)
    found = await threads.run(queries.summary, wanted)
    return [ErrorCount(code=code, count=count) for code, count in found.errors]
