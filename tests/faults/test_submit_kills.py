"""The submitting process killed at random points, and resumed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from db.store import Store
from producer.bulk.ids import row_id
from producer.contract import message
from tests.support.waiting import wait_for
from tests.support.worker import Workers

ROWS = 4000


def test_each_row_has_one_result_and_is_sent_once(workers: Workers, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("text\n" + "".join(f"row {number}\n" for number in range(1, ROWS + 1)))
    start = [sys.executable, "-m", "labelmill", "submit", "scripted", str(file), "--run", "r"]
    resume = [*start[:4], "--resume", "r"]
    some = random.randrange(ROWS)
    with workers.broker() as broker, Store.open(workers.database_url) as store:
        with subprocess.Popen(
            start,
            cwd=tmp_path,
            env=workers.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            # At any point of what it does after so many jobs.
            wait_for(lambda: broker.llen("scripted") >= some or process.poll() is not None)
            os.killpg(process.pid, signal.SIGKILL)
        done = subprocess.run(
            resume, cwd=tmp_path, env=workers.environment(), capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        if "there is no run r" in done.stderr:  # killed before anything was sent
            done = subprocess.run(start, cwd=tmp_path, env=workers.environment(), check=False)
        assert done.returncode == 0, done.stderr
        sent = Counter(message.decode(raw).id for raw in broker.lrange("scripted", 0, -1))
        ids = [row_id("r", number) for number in range(1, ROWS + 1)]
        assert sent == Counter(ids)
        workers.start()
        wait_for(lambda: (store.run_progress("r") or (0,)).finished == ROWS, 120)  # type: ignore[union-attr]
        assert len(store.results_of(ids)) == ROWS
