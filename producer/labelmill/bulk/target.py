"""The target: the model that jobs are for, as far as it is known here."""

from __future__ import annotations

from collections.abc import Callable

from labelmill.broker.connection import open_broker
from labelmill.broker.heartbeat import heartbeats, serves
from labelmill.core.catalog import Catalog
from labelmill.core.settings import BrokerSettings
from labelmill.sources.base import Kind


def kind_taken(model: str) -> Kind | None:
    """What the model takes; None where there is no ``models.toml`` here.

    Raises:
        ConfigurationError: there is one, and it has no such model.
    """
    settings = BrokerSettings()
    if not settings.models_file.is_file():
        return None
    spec = Catalog.load(settings.models_file).select([model])[model]
    return Kind(spec.task.reads)


def warn_unserved(model: str, warn: Callable[[str], None]) -> None:
    """Say so when no worker serves the model now.

    Raises:
        BrokerUnavailable: Redis does not answer.
    """
    with open_broker(BrokerSettings().broker_url) as broker:
        if not any(serves(beat, model) for beat in heartbeats(broker)):
            warn(f"no worker serves {model} now: its jobs wait in Redis")
