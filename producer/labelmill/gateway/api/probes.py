"""``/healthz`` and ``/readyz``: for whoever runs the gateway."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from pydantic import BaseModel

from labelmill.broker.connection import broker_errors
from labelmill.db import schema
from labelmill.gateway.openapi import problems
from labelmill.gateway.services import Services, Shared

router = APIRouter(tags=["probes"])


class Alive(BaseModel):
    """It is."""

    status: str = "ok"


@router.get("/healthz")
async def healthz() -> Alive:
    """Whether this process answers."""
    return Alive()


@router.get("/readyz", responses={503: problems(503)[503]})
async def readyz(services: Shared) -> Alive:
    """Whether Redis and the database answer too, and the database is of this version."""
    await asyncio.gather(
        services.executors.redis.run(_ping, services),
        services.executors.database.run(schema.require_current, services.database.engine),
    )
    return Alive()


def _ping(services: Services) -> None:
    with broker_errors():
        services.broker.ping()
