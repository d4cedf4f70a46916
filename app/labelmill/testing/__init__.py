"""For the tests of an app, and of an engine: doubles of Redis and the worker, and conformance.

::

    from labelmill.testing import InlineWorker, InMemoryClient, StubEngine

    with InMemoryClient() as client:
        worker = InlineWorker(client, {"topics": StubEngine({"Where is it?": "delivery"})})
        job_id = client.submit_text("topics", "Where is it?")
        worker.run()
        assert client.result(job_id).label == "delivery"

No Redis, no worker process, no torch and no pytest is needed.
"""

from labelmill.testing.client import InMemoryBroker, InMemoryClient
from labelmill.testing.conformance import EngineNotConformant, check_engine
from labelmill.testing.engine import Answer, StubEngine
from labelmill.testing.worker import InlineWorker

__all__ = [
    "Answer",
    "EngineNotConformant",
    "InMemoryBroker",
    "InMemoryClient",
    "InlineWorker",
    "StubEngine",
    "check_engine",
]
