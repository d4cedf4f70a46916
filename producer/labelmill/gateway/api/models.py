"""``GET /v1/models`` and ``GET /v1/health``: the models, their queues and how all of it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from fastapi import APIRouter

from labelmill.core.errors import LabelmillError
from labelmill.gateway.dependencies import Reader
from labelmill.gateway.openapi import problems
from labelmill.gateway.problems import Problem
from labelmill.gateway.queues import models
from labelmill.gateway.schemas import ErrorCount, Health, ModelsOut
from labelmill.gateway.services import Shared

router = APIRouter(tags=["models"])

T = TypeVar("T")


@router.get("/v1/models", responses=problems())
async def get_models(services: Shared, _caller: Reader) -> ModelsOut:
    """The models and how full their queues are."""
    overview = await services.queues.overview()
    return ModelsOut(models=models(services.models.catalog(), overview))


@router.get("/v1/health", responses=problems())
async def get_health(services: Shared, _caller: Reader) -> Health:
    """How all of it is; what cannot be known now is null."""
    overview, newest, failures = await asyncio.gather(
        _known(services.queues.overview()),
        _known(services.newest_run.get()),
        _known(services.summaries.recent_failures()),
    )
    return Health(
        redis="away" if overview is None else "ok",
        database="away" if newest is None else "ok",
        queues=models(services.models.catalog(), overview),
        workers=None if overview is None else overview.beats,
        failures=None if newest is None or failures is None else ErrorCount.of(failures),
        dead=None if overview is None else sum(each["dead"] for each in overview.depths.values()),
    )


async def _known(asked: Awaitable[T]) -> T | None:
    try:
        return await asked
    except (LabelmillError, Problem):
        return None
