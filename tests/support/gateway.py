"""A gateway in a thread of this process, on a port of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from labelmill.gateway.server import GatewayServer
from labelmill.gateway.settings import GatewaySettings
from tests.support.waiting import wait_for

MODELS = """
[models.texts]
task = "text-classification"
checkpoint = "nowhere"
revision = "0000000000000000000000000000000000000000"

[models.images]
task = "image-classification"
checkpoint = "nowhere"
revision = "0000000000000000000000000000000000000000"
"""


def settings_for(folder: Path, redis_url: str, database_url: str, **more: Any) -> GatewaySettings:
    """Settings with a text and an image model, that nobody serves, and uploads in the folder."""
    models = folder / "models.toml"
    models.write_text(MODELS)
    # A busy machine is not one whose servers are away.
    patient = {"answer_seconds": 30.0, **more}
    return GatewaySettings(
        broker_url=redis_url,
        database_url=database_url,
        models_file=models,
        upload_store=str(folder / "uploads"),
        **patient,
    )


@contextmanager
def serving(settings: GatewaySettings, *, host: str = "127.0.0.1") -> Iterator[httpx.Client]:
    """A client of a gateway that serves as long as the block runs."""
    server = GatewayServer(settings, host, 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started or not thread.is_alive())
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
