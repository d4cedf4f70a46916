"""The submitting process killed at random points, and resumed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

from labelmill.broker import message
from labelmill.db.database import Database
from labelmill.sources.ids import row_id
from tests.support.waiting import wait_for
from tests.support.worker import Workers

ROWS = 4000
KILLS = 3


def test_each_row_has_one_result_and_is_sent_once(workers_on_each: Workers, tmp_path: Path) -> None:
    workers = workers_on_each
    file = tmp_path / "rows.csv"
    file.write_text("text\n" + "".join(f"row {number}\n" for number in range(1, ROWS + 1)))
    command = (sys.executable, "-m", "labelmill", "submit", "scripted", str(file), "--run", "r")
    with workers.broker() as broker, Database.open(workers.database_url) as database:
        for some in sorted(random.sample(range(ROWS), KILLS)):
            with subprocess.Popen(
                command,
                cwd=tmp_path,
                env=workers.environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            ) as process:
                # At any point of what it does after so many jobs, or before the first.
                wait_for(lambda: broker.llen("scripted") >= some or process.poll() is not None)  # noqa: B023
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        # Nobody has to know that the processes before are gone, or whether they sent anything.
        done = subprocess.run(
            command, cwd=tmp_path, env=workers.environment(), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        sent = Counter(message.decode(raw).id for raw in broker.lrange("scripted", 0, -1))
        ids = [row_id("r", number) for number in range(1, ROWS + 1)]
        assert sent == Counter(ids)
        resume = subprocess.run(
            (*command[:4], "--resume", "r"), cwd=tmp_path, env=workers.environment(),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert f"0 submitted, {ROWS:,} submitted before" in resume.stderr
        workers.start()
        wait_for(lambda: (database.runs.progress("r") or (0,)).finished == ROWS)  # type: ignore[union-attr]
        assert len(database.results.get_many(ids)) == ROWS
