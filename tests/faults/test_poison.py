"""Jobs that end or block their worker, and deliveries of the same job to several workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelmill.broker.queues import QueueKeys
from labelmill.client import NewJob
from tests.support.counting import (
    database_of,
    depth,
    freeze_results,
    rows_of,
    wait_until_nothing_is_left,
)
from tests.support.rows import newest_results
from tests.support.waiting import wait_for
from tests.support.worker import Supervisor, Workers


@pytest.mark.parametrize("poison", ["abort", "segfault", "hang"])
def test_a_job_that_ends_its_worker_is_poisoned_and_takes_nobody_along(
    workers: Workers, poison: str
) -> None:
    workers.configure(lease_seconds="0.5", max_attempts="2", forward_timeout="1")
    with workers.client() as client, workers.broker() as broker:
        freeze_results(database_of(client))
        jobs = [NewJob(text=poison if i == 7 else f"t{i}") for i in range(20)]
        ids = client.submit_many("scripted", jobs).ids
        supervisor = Supervisor(workers)

        def settled() -> bool:
            supervisor.look()
            return len(database_of(client).results.get_many(ids)) == len(ids)

        wait_for(settled)
        rows = rows_of(client, ids)
        wait_until_nothing_is_left(broker)
        assert depth(broker)["dead"] == 1
        assert b"classify" in broker.lindex(QueueKeys("scripted").dead, 0)
    failed = [row for row in rows if row.status == "failed"]
    assert [(row.id, row.error_code, row.attempt) for row in failed] == [(ids[7], "poisoned", 3)]
    assert max(row.attempt for row in rows if row.status == "succeeded") == 2


def test_a_forward_that_hangs_ends_the_worker(workers: Workers, tmp_path: Path) -> None:
    workers.configure(lease_seconds="0.5", forward_timeout="1")
    worker = workers.start()
    with workers.client() as client, workers.broker() as broker:
        hung = client.submit_text("scripted", f"hang-once {tmp_path / 'hung'}")
        assert worker.process.wait() == 1
        assert "LABELMILL_FORWARD_TIMEOUT" in worker.text()
        workers.start()
        row = rows_of(client, [hung])[0]
        wait_until_nothing_is_left(broker)
    assert (row.status, row.attempt) == ("succeeded", 2)


def test_a_group_that_runs_longer_than_three_leases_runs_once(
    workers: Workers, tmp_path: Path
) -> None:
    workers.configure(lease_seconds="0.5")
    workers.start()
    with workers.client() as client, workers.broker() as broker:
        keys = QueueKeys("scripted")
        held = client.submit_text("scripted", f"hold {tmp_path / 'go'}")
        wait_for((tmp_path / "go.started").exists)
        # One more in the same hands, and a worker that would take both if their leases ended.
        counted = client.submit_text("scripted", f"count {tmp_path / 'count'}")
        wait_for(lambda: depth(broker)["leased"] == 2)
        workers.start()
        first = deadline(broker, keys)
        wait_for(lambda: deadline(broker, keys) > first + 4 * 500)
        (tmp_path / "go").touch()
        rows = rows_of(client, [held, counted])
    assert {(row.status, row.attempt, row.worker) for row in rows} == {("succeeded", 1, "w1@test")}
    assert (tmp_path / "count").read_bytes() == b"."


def deadline(broker, keys: QueueKeys) -> float:  # type: ignore[no-untyped-def]
    """The nearest deadline, in ms of the server's clock."""
    return float(broker.zrange(keys.deadlines, 0, 0, withscores=True)[0][1])


def test_the_same_job_delivered_five_times_has_one_row(workers: Workers) -> None:
    with workers.client() as client, workers.broker() as broker:
        freeze_results(database_of(client))
        ids = client.submit_many("scripted", [NewJob(text=f"pause {i}") for i in range(200)]).ids
        entries = broker.lrange("scripted", 0, -1)
        for _ in range(4):
            broker.lpush("scripted", *entries)
        for worker in [workers.start(wait=False) for _ in range(3)]:
            workers.wait_ready(worker)
        rows = rows_of(client, ids)
        wait_until_nothing_is_left(broker)
        assert len(newest_results(database_of(client), limit=1000)) == 200
    assert {(row.status, row.attempt) for row in rows} == {("succeeded", 1)}
