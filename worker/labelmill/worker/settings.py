"""The settings of a worker, from the environment."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from labelmill.broker.connection import ANSWER_SECONDS
from labelmill.core.settings import DatabaseSettings, EngineSettings, comma_separated


class WorkerSettings(EngineSettings, DatabaseSettings):
    """What a worker needs to know beyond its models."""

    models: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="The models to serve, separated by commas; all of models.toml if empty.",
    )
    lease_seconds: float = Field(
        default=30.0, ge=0.5, description="How long a lease lasts; renewed every third of it."
    )
    max_attempts: int = Field(
        default=3, ge=1, description="How often a job is started before it counts as poisoned."
    )
    shutdown_grace: float = Field(
        default=25.0,
        ge=0,
        description="Seconds a warm shutdown waits for the device and the database.",
    )
    forward_timeout: float = Field(
        default=900.0,
        ge=0,
        description="Seconds a group may be on the device before the worker ends; 0 for any time.",
    )

    @field_validator("models", mode="before")
    @classmethod
    def _comma_separated_models(cls, value: object) -> object:
        return comma_separated(value)

    @property
    def answer_seconds(self) -> float:
        """After how long a Redis that is silent is away.

        A call whose reply was lost has to be made again within the leases that it is about.
        """
        return min(ANSWER_SECONDS, max(1.0, self.lease_seconds / 3))
