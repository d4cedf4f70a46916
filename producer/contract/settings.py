"""The settings that producers and workers share, from the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

#: ``labelmill up`` writes its addresses here; the environment overrides them.
ENV_FILE = Path(".labelmill/env")


class BrokerSettings(BaseSettings):
    """Where the jobs wait, and which models there are."""

    model_config = SettingsConfigDict(
        env_prefix="LABELMILL_", env_file=ENV_FILE, extra="ignore", frozen=True
    )

    broker_url: str = Field("redis://127.0.0.1:6379/0", description="Redis, the queue.")
    models_file: Path = Field(Path("models.toml"), description="The models, a queue each.")
    upload_store: str = Field(
        ".labelmill/uploads",
        description="Where uploads are kept: a folder, or a URL of fsspec such as s3://bucket.",
    )
    max_waiting: int = Field(
        100_000, ge=1, description="The most jobs that may wait in a queue before producers pause."
    )
    reconcile_every: float = Field(
        60.0, gt=0, description="Seconds between two sweeps for lost jobs that beat asks for."
    )
    reconcile_grace: float = Field(
        60.0, gt=0, description="Seconds from a job's sending in which it is not lost yet."
    )
    announcements: int = Field(
        2_000,
        ge=0,
        description="How many finished groups the stream of announcements keeps; 0 for no stream.",
    )
