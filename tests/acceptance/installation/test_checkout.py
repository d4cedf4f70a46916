"""In a checkout, Celery's own command finds the worker by the folder's name."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.acceptance.installation.built import ROOT
from tests.acceptance.installation.terminal import Terminal


def test_celery_finds_the_worker_of_a_checkout(
    redis_url: str, sqlite_url: str, tmp_path: Path
) -> None:
    variables = {
        "LABELMILL_BROKER_URL": redis_url,
        "LABELMILL_DATABASE_URL": sqlite_url,
        "LABELMILL_MODELS": "topics",
        "LABELMILL_MODELS_FILE": str(ROOT / "models.toml"),
    }
    terminal = Terminal(Path(sys.executable).parent, ROOT, variables)
    words = (
        "celery",
        "-A",
        "worker",
        "worker",
        "-n",
        "checkout@test",
        "-Q",
        "topics",
        "-l",
        "info",
    )
    with terminal.running(*words, log=tmp_path / "celery.log") as worker:
        worker.says("ready.")
        submit = ("submit", "topics", "--text", "Where is my parcel?", "--wait")
        row = json.loads(terminal.run("labelmill", *submit))
        assert (row["status"], row["worker"]) == ("succeeded", "checkout@test")
        assert worker.end() == 0, worker.log.read_text()
