"""The same job more than once: one row."""

from __future__ import annotations

import redis

from labelmill.broker.inspect import QueueInspector
from tests.support.rows import a_message
from tests.support.waiting import wait_for
from tests.support.worker import Workers


def test_a_message_delivered_five_times_to_two_workers_has_one_row(
    workers_on_each: Workers,
) -> None:
    workers = workers_on_each
    workers.start()
    workers.start()
    with redis.Redis.from_url(workers.broker_url) as broker, workers.client() as client:
        for number in range(40):
            raw = a_message(f"job-{number}", {"text": "pause"}, "scripted")
            broker.lpush("scripted", *[raw] * 5)

        def idle() -> bool:
            depth = QueueInspector(broker).depths(["scripted"])["scripted"]
            return depth["waiting"] == depth["leased"] == 0

        wait_for(idle)
        assert client._database.results.counts()["scripted"].succeeded == 40
