"""The peer of :mod:`.submit`: a CSV file, a loop and ``send_task``, as everybody writes it."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from celery import Celery

from labelmill.core.job import TASK_NAME


def main(broker_url: str, queue: str, file: str) -> None:
    """Send each row's text."""
    app = Celery(broker=broker_url)
    with Path(file).open(newline="") as rows:
        for row in csv.DictReader(rows):
            app.send_task(TASK_NAME, kwargs={"text": row["text"]}, queue=queue)


if __name__ == "__main__":
    main(*sys.argv[1:])
