"""The peers of :mod:`labelmill.bench.export`: scripts that write a run as everybody writes CSV."""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from labelmill.bench.exporting.filling import RUN
from labelmill.db.tables import Job, Result

_COLUMNS = [column.name for column in Result.__table__.columns]
_ROWS_A_FETCH = 2000


def main(way: str, url: str, file: str, limit: str) -> None:
    """Write so many of the run's results, the oldest first, each with its text."""
    rows = {"select": _selected, "objects": _objects}[way](url, int(limit))
    with Path(file).open("w", newline="") as output:
        writer = csv.writer(output)
        writer.writerow([*_COLUMNS, "input"])
        count = 0
        for row in rows:
            writer.writerow(row)
            count += 1
    sys.stderr.write(f"{count:,} rows written\n")


def _selected(url: str, limit: int) -> Iterable[Any]:
    is_sqlite = url.startswith("sqlite")
    text = "json_extract(jobs.payload, '$.text')" if is_sqlite else "jobs.payload->>'text'"
    columns = ", ".join(f"results.{name}" for name in _COLUMNS)
    query = (
        f"SELECT {columns}, {text} FROM results LEFT JOIN jobs ON jobs.id = results.id"
        f" WHERE results.run_id = '{RUN}' ORDER BY results.finished_at, results.id LIMIT {limit}"
    )
    if is_sqlite:
        return sqlite3.connect(url.removeprefix("sqlite:///")).execute(query)
    cursor = psycopg.connect(url).cursor("export")
    cursor.itersize = _ROWS_A_FETCH
    return cursor.execute(query.encode())


def _objects(url: str, limit: int) -> Iterable[list[Any]]:
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    query = (
        select(Result, Job)
        .outerjoin(Job, Job.id == Result.id)
        .where(Result.run_id == RUN)
        .order_by(Result.finished_at, Result.id)
        .limit(limit)
    )
    with Session(engine) as session:
        for result, job in session.execute(query.execution_options(yield_per=_ROWS_A_FETCH)):
            values = [getattr(result, name) for name in _COLUMNS]
            values[_COLUMNS.index("scores")] = json.dumps(result.scores)
            yield [*values, job.payload["text"]]


if __name__ == "__main__":
    main(*sys.argv[1:])
