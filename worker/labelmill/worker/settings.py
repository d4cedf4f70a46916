"""The settings of a worker, from the environment."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from labelmill.core.settings import DatabaseSettings
from labelmill.core.settings import BrokerSettings


def _user_cache() -> Path:
    try:
        home = Path.home()
    except RuntimeError:  # a container's user may have none
        home = Path(tempfile.gettempdir())
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "labelmill"


class WorkerSettings(BrokerSettings, DatabaseSettings):
    """What a worker needs to know beyond its models."""

    models: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="The models to serve, separated by commas; all of models.toml if empty."
    )
    lease_seconds: float = Field(
        30.0, ge=0.5, description="How long a lease lasts; renewed every third of it."
    )
    max_attempts: int = Field(
        3, ge=1, description="How often a job is started before it counts as poisoned."
    )
    shutdown_grace: float = Field(
        25.0, ge=0, description="Seconds a warm shutdown waits for the device and the database."
    )
    forward_timeout: float = Field(
        900.0,
        ge=0,
        description="Seconds a group may be on the device before the worker ends; 0 for any time.",
    )
    cache_dir: Path = Field(
        default_factory=_user_cache,
        description="Where token budgets are kept; $XDG_CACHE_HOME/labelmill if unset.",
    )
    image_root: Path | None = Field(
        None, description="The folder under which image uris may lie; none are read if unset."
    )
    image_schemes: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Remote schemes that image uris may have, such as s3,gs (through fsspec)."
    )
    image_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Hosts that images may be fetched from over https: example.org, "
        "*.example.org, *; http://example.org for http too. None if empty.",
    )
    image_timeout: float = Field(
        10.0, gt=0, description="Seconds that one image may take over http(s), with all its tries."
    )
    max_image_bytes: int = Field(
        32 * 1024 * 1024, ge=1, description="The largest image file that is read, in bytes."
    )
    max_image_pixels: int = Field(
        50_000_000, ge=1, description="The largest image that is decoded, in pixels."
    )

    @field_validator("models", "image_schemes", "image_hosts", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value
