"""What is wrong with one queue holds up no other."""

from __future__ import annotations

import json
import subprocess
import sys

from labelmill.broker.heartbeat import heartbeat_of
from labelmill.broker.queues import QueueKeys
from labelmill.client import NewJob
from tests.support.counting import database_of, wait_until_nothing_is_left
from tests.support.waiting import wait_for
from tests.support.worker import SCRIPTED_MODELS, Workers

MODELS = SCRIPTED_MODELS + SCRIPTED_MODELS.replace("models.scripted", "models.other")


def test_a_key_of_another_application_under_a_queues_name(workers: Workers) -> None:
    workers.configure(MODELS, lease_seconds="1")
    worker = workers.start()
    with workers.client() as client, workers.broker() as broker:
        client.wait(client.submit_text("other", "before"))
        broker.set(QueueKeys("other").lists[1], "another application's")
        wait_for(lambda: (heartbeat_of(broker, worker.name) or {}).get("troubles"))
        # The other model's jobs are taken as they come, and not once in a while.
        began = float(broker.time()[0])
        for number in range(100):
            client.wait(client.submit_text("scripted", f"t{number}"))
        assert float(broker.time()[0]) - began < 30
        assert "WRONGTYPE" in status(workers)["queues"]["other"]["trouble"]
        ids = client.submit_many("other", [NewJob(text=f"t{i}") for i in range(20)]).ids
        broker.delete(QueueKeys("other").lists[1])
        wait_for(lambda: len(database_of(client).results.get_many(ids)) == len(ids))
        wait_for(lambda: not (heartbeat_of(broker, worker.name) or {}).get("troubles"))
        assert status(workers)["queues"]["other"]["trouble"] is None
        for queue in ("scripted", "other"):
            wait_until_nothing_is_left(broker, queue)
    assert worker.text().count("Redis refuses the queue other") == 1


def status(workers: Workers) -> dict:
    words = [sys.executable, "-m", "labelmill", "status", "--json"]
    asked = subprocess.run(
        words, env=workers.environment(), cwd=workers.folder, capture_output=True, check=True
    )
    return json.loads(asked.stdout)
