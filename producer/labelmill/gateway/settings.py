"""The settings of a gateway, from the environment."""

from __future__ import annotations

from pydantic import Field

from labelmill.core.settings import BrokerSettings, DatabaseSettings


class GatewaySettings(BrokerSettings, DatabaseSettings):
    """What a gateway needs to know: how much it takes, from whom and for how long."""

    max_body_bytes: int = Field(
        16 * 1024 * 1024, ge=1024, description="The largest JSON request, in bytes."
    )
    max_upload_bytes: int = Field(
        256 * 1024 * 1024, ge=1024, description="The largest request with files, in bytes."
    )
    max_image_bytes: int = Field(
        32 * 1024 * 1024, ge=1, description="The largest image file that is taken, in bytes."
    )
    max_event_streams: int = Field(
        100, ge=0, description="Streams of results that are open at the same time."
    )
    rate_limit: str = Field(
        "6000/minute", description="Requests of one token, or of one address without one."
    )
    rate_limit_storage: str = Field(
        "memory", description="memory, for this process alone; or redis, for all gateways together."
    )
    answer_seconds: float = Field(
        5.0, gt=0, description="Seconds until a request is told that Redis or the database is away."
    )
