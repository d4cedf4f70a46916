"""Workers are killed at random moments under load."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count

import pytest

from labelmill.client import Client, NewJob
from tests.support.counting import (
    database_of,
    depth,
    freeze_results,
    row_count,
    rows_of,
    wait_until_nothing_is_left,
)
from tests.support.faulty import POINTS
from tests.support.waiting import wait_for
from tests.support.worker import SCRIPTED_MODELS, Supervisor, Workers

IN_THE_QUEUE = 200


def batches() -> Iterator[list[NewJob]]:
    """Jobs, a hundred at a time, without an end."""
    for number in count(step=100):
        yield [NewJob(text=f"pause {number + each}") for each in range(100)]


@pytest.mark.parametrize("kills", [8, pytest.param(40, marks=pytest.mark.long)])
def test_workers_killed_at_random_lose_nothing(workers_on_each: Workers, kills: int) -> None:
    workers = workers_on_each
    # Whoever is killed so often may have the same job in its hands each time.
    workers.configure(SCRIPTED_MODELS + "group_size = 16\n", lease_seconds="1", max_attempts="99")
    chance = random.Random(4)
    jobs = batches()
    ids: list[str] = []
    with workers.client() as client, workers.broker() as broker:
        database = database_of(client)
        freeze_results(database)
        supervisor = Supervisor(workers, 3)
        for _ in range(kills):
            rows = row_count(database) + chance.randrange(200)

            def moment_has_come(rows: int = rows) -> bool:
                supervisor.look()
                if depth(broker)["waiting"] < IN_THE_QUEUE:
                    ids.extend(client.submit_many("scripted", next(jobs)).ids)
                return row_count(database) >= rows and bool(supervisor.ready())

            wait_for(moment_has_come)
            chance.choice(supervisor.ready()).kill()
        supervisor.look()
        results = rows_of(client, ids)
        wait_until_nothing_is_left(broker)
    assert len(ids) >= 25 * kills
    assert {row.status for row in results} == {"succeeded"}
    assert max(row.attempt for row in results) > 1
    assert all(row.label.startswith("pause ") for row in results if row.label)


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_killed_at_this_point_loses_nothing(workers: Workers, point: str) -> None:
    workers.configure(lease_seconds="0.5")
    with workers.client() as client, workers.broker() as broker:
        freeze_results(database_of(client))
        ids = submit(client, 20)
        victim = workers.start_faulty("kill", point, wait=False)
        assert victim.process.wait() == -9
        written = row_count(database_of(client))
        assert written == (20 if point in {"committed", "acknowledged"} else 0)
        workers.start()
        rows = rows_of(client, ids)
        wait_until_nothing_is_left(broker)
    assert {row.status for row in rows} == {"succeeded"}
    # What was committed stays as it is, though it may have run again.
    assert {(row.attempt, row.worker) for row in rows} == (
        {(1, "w1@test")} if written else {(2, "w2@test")}
    )


def submit(client: Client, number: int) -> list[str]:
    return client.submit_many("scripted", [NewJob(text=f"t{i}") for i in range(number)]).ids
