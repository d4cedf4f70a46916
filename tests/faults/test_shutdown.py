"""Shutdown: warm, at once, and one worker after the other."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from labelmill.client import NewJob
from tests.support.counting import (
    database_of,
    depth,
    freeze_results,
    rows_of,
    wait_until_nothing_is_left,
)
from tests.support.waiting import wait_for
from tests.support.worker import SCRIPTED_MODELS, Workers


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGQUIT], [signal.SIGTERM, signal.SIGTERM], [signal.SIGINT, signal.SIGINT]],
    ids=["SIGQUIT", "SIGTERM twice", "SIGINT twice"],
)
def test_leaving_at_once_loses_nothing(
    workers: Workers, tmp_path: Path, signals: list[signal.Signals]
) -> None:
    workers.configure(lease_seconds="1", shutdown_grace="600")
    worker = workers.start()
    with workers.client() as client, workers.broker() as broker:
        freeze_results(database_of(client))
        held = client.submit_text("scripted", f"hold {tmp_path / 'go'}")
        wait_for((tmp_path / "go.started").exists)
        others = client.submit_many("scripted", [NewJob(text=f"t{i}") for i in range(20)]).ids
        wait_for(lambda: depth(broker)["leased"] == 21)
        for each in signals[:-1]:
            os.kill(worker.pid, each)
            wait_for(lambda: "stopping: 1 jobs on the device" in worker.text())
        os.kill(worker.pid, signals[-1])
        assert worker.process.wait() == 1
        (tmp_path / "go").touch()
        workers.start()
        rows = rows_of(client, [held, *others])
        wait_until_nothing_is_left(broker)
    assert {row.status for row in rows} == {"succeeded"}


def test_a_device_that_is_not_done_within_the_grace_time(workers: Workers, tmp_path: Path) -> None:
    workers.configure(shutdown_grace="1")
    worker = workers.start()
    with workers.client() as client, workers.broker() as broker:
        held = client.submit_text("scripted", f"hold {tmp_path / 'go'}")
        wait_for((tmp_path / "go.started").exists)
        others = client.submit_many("scripted", [NewJob(text=f"t{i}") for i in range(20)]).ids
        wait_for(lambda: depth(broker)["leased"] == 21)
        worker.process.terminate()
        worker.process.wait(1 + 3 + 20)
        # Back at once, in their order, and none is left to expire.
        assert depth(broker) == {"waiting": 21, "leased": 0, "delayed": 0, "dead": 0}
        (tmp_path / "go").touch()
        workers.start()
        rows = rows_of(client, [held, *others])
    assert {(row.status, row.attempt) for row in rows} == {("succeeded", 1)}


def test_a_rolling_restart_of_three_workers_under_load(workers: Workers) -> None:
    workers.configure(SCRIPTED_MODELS + "group_size = 8\n", lease_seconds="60")
    with workers.client() as client, workers.broker() as broker:
        freeze_results(database_of(client))
        old = [workers.start(wait=False) for _ in range(3)]
        for each in old:
            workers.wait_ready(each)
        ids: list[str] = []

        def load() -> None:
            if depth(broker)["waiting"] < 100:
                jobs = [NewJob(text=f"pause {len(ids) + i}") for i in range(100)]
                ids.extend(client.submit_many("scripted", jobs).ids)

        for each in old:
            each.process.terminate()

            def ended(each=each) -> bool:  # type: ignore[no-untyped-def]
                load()
                return each.process.poll() is not None

            wait_for(ended)
            assert each.process.returncode == 0
            workers.wait_ready(workers.start(wait=False))
        rows = rows_of(client, ids)
        wait_until_nothing_is_left(broker)
    # No gap: nothing had to wait for a lease of a minute to expire.
    assert {(row.status, row.attempt) for row in rows} == {("succeeded", 1)}
    assert len({row.worker for row in rows}) > 3
