"""Workers whose clocks are wrong: only the server's counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from labelmill.client import NewJob
from tests.support.counting import database_of, depth, rows_of, wait_until_nothing_is_left
from tests.support.waiting import wait_for
from tests.support.worker import SCRIPTED_MODELS, Workers

AN_HOUR = 3600
GROUP_SIZE = 4


def test_clocks_that_are_an_hour_wrong_have_no_effect(workers: Workers, tmp_path: Path) -> None:
    workers.configure(SCRIPTED_MODELS + f"group_size = {GROUP_SIZE}\n", lease_seconds="1")
    early = workers.start_faulty("clock", str(-AN_HOUR))
    with workers.client() as client, workers.broker() as broker:
        began = datetime.now(UTC)
        held = client.submit_text("scripted", f"hold {tmp_path / 'go'}")
        wait_for((tmp_path / "go.started").exists)
        # To this one, leases that were reckoned by a clock would seem to have ended long ago.
        late = workers.start_faulty("clock", str(AN_HOUR))
        ids = client.submit_many("scripted", [NewJob(text=f"pause {i}") for i in range(200)]).ids
        soon = datetime.now(UTC) + timedelta(seconds=1)
        delayed = client.submit_text("scripted", "delayed", eta=soon)
        in_time = client.submit_text("scripted", "in time", expires=timedelta(minutes=30))
        too_late = client.submit_text("scripted", "too late", expires=timedelta(minutes=-30))
        started = int(broker.time()[0])
        # All but what the busy worker has prepared.
        wait_for(lambda: len(database_of(client).results.get_many(ids)) >= len(ids) - GROUP_SIZE)
        wait_for(lambda: int(broker.time()[0]) > started + 3)
        assert depth(broker)["leased"] >= 1
        (tmp_path / "go").touch()
        rows = rows_of(client, [held, delayed, in_time, *ids, too_late])
        wait_until_nothing_is_left(broker)
    ended = datetime.now(UTC)
    assert {row.attempt for row in rows} == {1}
    assert {row.status for row in rows[:-1]} == {"succeeded"}
    assert rows[-1].error_code == "expired"
    assert {early.name, late.name} == {row.worker for row in rows}
    assert all(began <= row.started_at <= row.finished_at <= ended for row in rows)
    assert rows[1].started_at >= soon
