"""Where the results are kept."""

from __future__ import annotations

from pydantic_settings import BaseSettings, SettingsConfigDict


class DatabaseSettings(BaseSettings):
    """The settings of the database, from ``LABELMILL_*`` variables or ``.labelmill/env``."""

    model_config = SettingsConfigDict(
        env_prefix="LABELMILL_", env_file=".labelmill/env", extra="ignore"
    )

    database_url: str = "sqlite:///labelmill.db"
    """An SQLAlchemy URL: ``sqlite:///path`` or ``postgresql://user:password@host/database``."""
