"""Jobs that are cancelled while workers take, run and commit them: one row each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from labelmill.client import NewJob
from tests.support.counting import (
    database_of,
    freeze_results,
    rows_of,
    wait_until_nothing_is_left,
)
from tests.support.worker import SCRIPTED_MODELS, Workers

JOBS = 300


def test_cancelling_against_workers_that_take_the_same_jobs(workers_on_each: Workers) -> None:
    workers = workers_on_each
    workers.configure(SCRIPTED_MODELS + "group_size = 8\n")
    workers.start()
    with workers.client() as client, workers.broker() as broker:
        freeze_results(database_of(client))
        jobs = [NewJob(text=f"pause {number}") for number in range(JOBS)]
        ids = client.submit_many("scripted", jobs).ids
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(client.cancel, ids[::2]))
        rows = {row.id: row for row in rows_of(client, ids)}
        wait_until_nothing_is_left(broker)
    cancelled = {each for each, done in zip(ids[::2], answers, strict=True) if done}
    assert cancelled == {id for id, row in rows.items() if row.error_code == "revoked"}
    assert {row.status for id, row in rows.items() if id not in cancelled} == {"succeeded"}
    assert cancelled
