"""The settings that several rooms share, from the environment or ``.labelmill/env``."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from labelmill.core.errors import ConfigurationError

#: ``labelmill up`` writes its addresses here; the environment overrides them.
ENV_FILE = Path(".labelmill/env")

_FROM_ENVIRONMENT = SettingsConfigDict(
    env_prefix="LABELMILL_", env_file=ENV_FILE, extra="ignore", frozen=True
)


class Settings(BaseSettings):
    """Settings from ``LABELMILL_*``.

    Raises:
        ConfigurationError: one of them cannot be used; the message does not repeat it, as it may
            hold a password.
    """

    model_config = _FROM_ENVIRONMENT

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            problems = "; ".join(
                f"LABELMILL_{str(each['loc'][0]).upper()}: {each['msg']}"
                for each in error.errors(include_url=False, include_input=False)
            )
            raise ConfigurationError(problems) from None


class BrokerSettings(Settings):
    """Where the jobs wait, and which models there are."""

    broker_url: str = Field(default="redis://127.0.0.1:6379/0", description="Redis, the queue.")
    models_file: Path = Field(default=Path("models.toml"), description="The models, a queue each.")
    upload_store: str = Field(
        default=".labelmill/uploads",
        description="Where uploads are kept: a folder, or a URL of fsspec such as s3://bucket.",
    )
    max_waiting: int = Field(
        default=100_000,
        ge=1,
        description="The most jobs that may wait in a queue before producers pause.",
    )
    reconcile_every: float = Field(
        default=60.0,
        gt=0,
        description="Seconds between two sweeps for lost jobs that beat asks for.",
    )
    reconcile_grace: float = Field(
        default=60.0, gt=0, description="Seconds from a job's sending in which it is not lost yet."
    )
    announcements: int = Field(
        default=2_000,
        ge=0,
        description="How many finished groups the stream of announcements keeps; 0 for no stream.",
    )


class DatabaseSettings(Settings):
    """Where the results are kept."""

    database_url: str = "sqlite:///labelmill.db"
    """An SQLAlchemy URL: ``sqlite:///path`` or ``postgresql://user:password@host/database``."""
    database_schema: str | None = Field(
        default=None,
        description="The schema of PostgreSQL in which the tables lie; if unset or empty, the one"
        " that a connection finds tables in.",
    )


class ImageSettings(Settings):
    """The folder that workers read images under, where it is set here too."""

    image_root: Path | None = Field(
        default=None,
        description="The folder under which image uris may lie; none are read if unset.",
    )

    def is_outside(self, uri: str) -> bool:
        """Whether workers with the same setting would refuse to read this path."""
        if self.image_root is None or "://" in uri or uri.startswith("upload:"):
            return False
        return not Path(uri).resolve().is_relative_to(self.image_root.resolve())

    def refusal(self, images: str) -> str:
        """What to do about images outside of the root.

        Parameters:
            images: which ones, with the verb.
        """
        return (
            f"{images} outside of LABELMILL_IMAGE_ROOT ({self.image_root}), where workers refuse "
            "to read them: use --upload, or --inline for small ones"
        )


def _user_cache() -> Path:
    try:
        home = Path.home()
    except RuntimeError:  # a container's user may have none
        home = Path(tempfile.gettempdir())
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "labelmill"


class EngineSettings(BrokerSettings, ImageSettings):
    """What an engine needs to know beyond its model: where it keeps and finds what it reads."""

    cache_dir: Path = Field(
        default_factory=_user_cache,
        description="Where token budgets are kept; $XDG_CACHE_HOME/labelmill if unset.",
    )
    device_memory: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="The part of a GPU's memory that this worker may take.",
    )
    cpu_threads: int | None = Field(
        default=None,
        ge=1,
        description="Threads for tokenising, decoding images and models on the CPU; all cores if "
        "unset.",
    )
    image_schemes: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Remote schemes that image uris may have, such as s3,gs (through fsspec).",
    )
    image_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Hosts that images may be fetched from over https: example.org, "
        "*.example.org, *; http://example.org for http too. None if empty.",
    )
    image_timeout: float = Field(
        default=10.0,
        gt=0,
        description="Seconds that one image may take over http(s), with all its tries.",
    )
    max_image_bytes: int = Field(
        default=32 * 1024 * 1024, ge=1, description="The largest image file that is read, in bytes."
    )
    max_image_pixels: int = Field(
        default=50_000_000, ge=1, description="The largest image that is decoded, in pixels."
    )

    @field_validator("image_schemes", "image_hosts", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        return comma_separated(value)


def comma_separated(value: object) -> object:
    """The parts of a variable that holds several; anything but a string as it is."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value
