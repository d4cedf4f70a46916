"""The target: the model that jobs are for, as far as it is known here."""

from __future__ import annotations

from collections.abc import Callable

import redis

from producer.bulk.sources.base import Kind
from producer.contract.catalog import Catalog
from producer.contract.queues import heartbeats
from producer.contract.settings import BrokerSettings

ANSWER_SECONDS = 5.0


def kind_taken(model: str) -> Kind | None:
    """What the model takes; None where there is no ``models.toml`` here.

    Raises:
        ConfigurationError: there is one, and it has no such model.
    """
    settings = BrokerSettings()
    if not settings.models_file.is_file():
        return None
    spec = Catalog.load(settings.models_file).select([model])[model]
    return Kind.IMAGE if spec.task == "image-classification" else Kind.TEXT


def warn_unserved(model: str, warn: Callable[[str], None]) -> None:
    """Say so when no worker serves the model now.

    Raises:
        BrokerUnavailable: Redis does not answer.
    """
    url = BrokerSettings().broker_url
    with redis.Redis.from_url(
        url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS
    ) as broker:
        if not any(model in beat["models"] for beat in heartbeats(broker)):
            warn(f"no worker serves {model} now: its jobs wait in Redis")
