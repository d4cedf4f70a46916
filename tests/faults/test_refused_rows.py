"""The database refuses rows: one of them is told apart from all of them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from labelmill.broker.heartbeat import heartbeat_key
from labelmill.broker.queues import QueueKeys
from labelmill.client import Client, NewJob
from labelmill.recovery.reconciler import reconciling
from tests.support.counting import database_of, depth, rows_of, wait_until_nothing_is_left
from tests.support.triggers import add_trigger, drop_trigger, refuse_by
from tests.support.waiting import wait_for
from tests.support.worker import WorkerProcess, Workers

SECRET = "the patient's name is Ada"


def labelmill(workers: Workers, *words: str) -> list[dict[str, Any]]:
    """The objects of JSON that a command says."""
    done = subprocess.run(
        [sys.executable, "-m", "labelmill", *words],
        env=workers.environment(),
        cwd=workers.folder,
        capture_output=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def waits_for_database(workers: Workers, worker: WorkerProcess) -> bool:
    with workers.broker() as broker:
        beat = broker.get(heartbeat_key(worker.name))
    return beat is not None and json.loads(beat)["waiting_for"] == "database"


def submit_together(workers: Workers, client: Client, texts: dict[str, str]) -> None:
    """Have jobs run as one group, if they fit: while another holds the device."""
    path = workers.folder / f"go-{next(iter(texts))}"
    held = client.submit_text("scripted", f"hold {path}")
    wait_for(path.with_name(f"{path.name}.started").exists)
    client.submit_many("scripted", [NewJob(text=text, id=id) for id, text in texts.items()])
    path.touch()
    client.wait(held)


def test_a_job_whose_row_is_refused_is_a_dead_letter_and_the_others_are_written(
    workers_on_each: Workers,
) -> None:
    workers = workers_on_each
    worker = workers.start()
    with workers.client() as client, workers.broker() as broker:
        database = database_of(client)
        sqlite = database.engine.dialect.name == "sqlite"
        quoted = "RAISE(ABORT, 'no label the patient''s name is Ada')"
        if not sqlite:
            quoted = "RAISE EXCEPTION 'no label %', NEW.label"
        # The first is refused for its label, the second under whatever row.
        add_trigger(database, "NEW.label LIKE 'the patient%' OR NEW.id = 'rowless'", quoted)
        texts = {f"good{n}": f"t{n}" for n in range(6)} | {"labelled": SECRET, "rowless": SECRET}
        submit_together(workers, client, texts)
        for n in range(6):
            assert client.wait(f"good{n}").status == "succeeded"
        wait_until_nothing_is_left(broker)
        failed = client.wait("labelled")
        assert (failed.status, failed.error_code) == ("failed", "unstorable")
        assert "no label …" in str(failed.error_message)
        assert client.result("rowless") is None
        dead = {each["id"]: each for each in labelmill(workers, "dead", "list", "--json")}
        assert set(dead) == {"labelled", "rowless"}
        assert "no label …" in dead["rowless"]["reason"]
        assert dead["labelled"]["reason"] == failed.error_message
        assert not waits_for_database(workers, worker)
        with reconciling(workers.broker_url, workers.database_url, 0, 1000) as reconciler:
            assert reconciler.sweep().sent == 0  # though one of them has no row
        assert "Ada" not in worker.text().replace(str(workers.folder), "")

        drop_trigger(database)
        replayed = labelmill(workers, "dead", "replay", "--all", "--json")
        assert {each["replayed_as"] for each in replayed} == {"labelled:replay1", "rowless"}
        for id in ("labelled:replay1", "rowless"):
            assert client.wait(id).status == "succeeded"
        assert not broker.exists(QueueKeys("scripted").dead_reasons)
    assert worker.process.poll() is None


@pytest.mark.parametrize("what", ["raises", "drops it"])
def test_where_every_row_is_refused_the_worker_waits_and_buries_nothing(
    workers_on_each: Workers, what: str
) -> None:
    workers = workers_on_each
    worker = workers.start()
    with workers.client() as client, workers.broker() as broker:
        database = database_of(client)
        refuse_by(database, what, "NEW.id <> ''")
        first = client.submit_text("scripted", "alone")
        wait_for(lambda: waits_for_database(workers, worker))
        ids = client.submit_many("scripted", [NewJob(text=f"t{n}") for n in range(20)]).ids
        wait_for(lambda: depth(broker)["leased"] == 21)
        assert depth(broker)["dead"] == 0
        drop_trigger(database)
        rows = rows_of(client, [first, *ids])
        wait_until_nothing_is_left(broker)
        wait_for(lambda: not waits_for_database(workers, worker))
        assert depth(broker)["dead"] == 0
    assert {(row.status, row.attempt) for row in rows} == {("succeeded", 1)}
    assert worker.text().count("the database takes no rows now") == 1
    assert worker.process.poll() is None


def test_a_lone_job_whose_row_nothing_can_stand_for_is_told_by_the_next_one(
    redis_url: str, postgresql_url: str, workers: Workers
) -> None:
    workers.database_url = postgresql_url
    worker = workers.start()
    with workers.client() as client, workers.broker() as broker:
        with database_of(client).engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE tickets (id varchar(255) PRIMARY KEY)")
            connection.exec_driver_sql("INSERT INTO tickets VALUES ('known')")
            connection.exec_driver_sql(
                "ALTER TABLE results ADD FOREIGN KEY (id) REFERENCES tickets (id)"
            )
        client.submit_text("scripted", "t", id="unknown")
        wait_for(lambda: waits_for_database(workers, worker))
        client.submit_text("scripted", "t", id="known")
        assert client.wait("known").status == "succeeded"
        wait_until_nothing_is_left(broker)
        assert depth(broker)["dead"] == 1
        [dead] = labelmill(workers, "dead", "list", "--json")
        assert (dead["id"], "SQLSTATE 23503" in dead["reason"]) == ("unknown", True)
        # Dropped for good: nobody is to send it again.
        labelmill(workers, "dead", "drop", "unknown", "--json")
        assert database_of(client).jobs.get("unknown") is None


def test_a_run_is_done_though_a_job_of_it_will_have_no_row(workers: Workers) -> None:
    workers.start()
    with workers.client() as client:
        refuse_by(database_of(client), "raises", "NEW.id = 'bad'")
    (workers.folder / "a.csv").write_text("id,text\ngood,a\nbad,b\nfine,c\n")
    words = "submit scripted a.csv --id-column id --text-column text --wait --json"
    done = subprocess.run(
        [sys.executable, "-m", "labelmill", *words.split()],
        env=workers.environment(),
        cwd=workers.folder,
        capture_output=True,
        timeout=60,
        check=False,
    )
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["succeeded"], last["failed"]) == (2, 1)


def test_a_worker_that_ends_meanwhile_gives_its_jobs_back(workers_on_each: Workers) -> None:
    workers = workers_on_each
    worker = workers.start()
    with workers.client() as client, workers.broker() as broker:
        refuse_by(database_of(client), "raises", "NEW.id <> ''")
        ids = client.submit_many("scripted", [NewJob(text=f"t{n}") for n in range(3)]).ids
        wait_for(lambda: waits_for_database(workers, worker))
        assert worker.terminate() == 0
        assert (depth(broker)["waiting"], depth(broker)["dead"]) == (3, 0)
        drop_trigger(database_of(client))
        workers.start()
        assert {row.status for row in rows_of(client, ids)} == {"succeeded"}
