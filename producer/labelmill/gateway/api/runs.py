"""``GET /v1/runs``: runs, and how far they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeVar

from fastapi import APIRouter

from labelmill.core.run import Run
from labelmill.db.runs import RunProgress
from labelmill.gateway.api.results import After, Limit
from labelmill.gateway.dependencies import Reader
from labelmill.gateway.openapi import problems
from labelmill.gateway.problems import Problem
from labelmill.gateway.schemas import Bucket, RunOut, RunsOut, Throughput
from labelmill.gateway.services import Services, Shared

router = APIRouter(tags=["runs"])

T = TypeVar("T")

_RATE_OVER = timedelta(minutes=1)


@router.get("/v1/runs", responses=problems())
async def get_runs(services: Shared, _caller: Reader, after: After, limit: Limit = 50) -> RunsOut:
    """Runs, the newest first."""

    def load() -> RunsOut:
        runs, following = services.database.runs.page(limit, after)
        return RunsOut(
            runs=[_described(services, run) for run in runs],
            next=None if following is None else str(following),
        )

    return await services.executors.database.run(load)


@router.get("/v1/runs/{id:path}/throughput", responses=problems(404))
async def get_throughput(id: str, services: Shared, _caller: Reader) -> Throughput:
    """What a run finished, in equal stretches of time since it began to."""

    def load() -> Throughput | None:
        if services.database.runs.get(id) is None:
            return None
        found = services.database.runs.throughput(id)
        return Throughput(
            bucket_seconds=found.bucket_seconds,
            buckets=[
                Bucket(at=at, succeeded=succeeded, failed=failed)
                for at, succeeded, failed in found.buckets
            ],
        )

    return _found(await services.executors.database.run(load))


@router.get("/v1/runs/{id:path}", responses=problems(404))
async def get_run(id: str, services: Shared, _caller: Reader) -> RunOut:
    """A run and how far it is."""

    def load() -> RunOut | None:
        run = services.database.runs.get(id)
        return None if run is None else _described(services, run)

    return _found(await services.executors.database.run(load))


def _described(services: Services, run: Run) -> RunOut:
    now = datetime.now(UTC)
    progress = services.database.runs.progress(run.id) or RunProgress(run.submitted, 0, 0)
    left = max(progress.submitted - progress.finished, 0)
    rate = _rate(services, run, now)
    return RunOut(
        id=run.id,
        model=run.model,
        source=run.source,
        submitted=progress.submitted,
        succeeded=progress.succeeded,
        failed=progress.failed,
        created_at=run.created_at,
        submitted_at=run.finished_at,
        done=run.finished_at is not None and not left,
        rate=rate,
        eta_seconds=left / rate if left and rate else None,
    )


def _rate(services: Services, run: Run, now: datetime) -> float:
    since = max(run.created_at, now - _RATE_OVER)
    seconds = max((now - since).total_seconds(), 1.0)
    return services.database.runs.finished_since(run.id, since) / seconds


def _found(found: T | None) -> T:
    if found is None:
        raise Problem(404, "not_found", "there is no run of that id")
    return found
