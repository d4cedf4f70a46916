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
from sqlalchemy.orm import Session, registry

from labelmill.bench.exporting.filling import RUN
from labelmill.core.result import RESULT_COLUMNS
from labelmill.db.tables import jobs, results

_ROWS_A_FETCH = 2000


def main(way: str, url: str, file: str, limit: str) -> None:
    """Write so many of the run's results, the oldest first, each with its text."""
    rows = {"select": _selected, "objects": _objects}[way](url, int(limit))
    with Path(file).open("w", newline="") as output:
        writer = csv.writer(output)
        writer.writerow([*RESULT_COLUMNS, "input"])
        count = 0
        for row in rows:
            writer.writerow(row)
            count += 1
    sys.stderr.write(f"{count:,} rows written\n")


def _selected(url: str, limit: int) -> Iterable[Any]:
    is_sqlite = url.startswith("sqlite")
    text = "json_extract(jobs.payload, '$.text')" if is_sqlite else "jobs.payload->>'text'"
    columns = ", ".join(f"results.{name}" for name in RESULT_COLUMNS)
    query = (
        f"SELECT {columns}, {text} FROM results LEFT JOIN jobs ON jobs.id = results.id"
        f" WHERE results.run_id = '{RUN}' ORDER BY results.finished_at, results.id LIMIT {limit}"
    )
    if is_sqlite:
        return sqlite3.connect(url.removeprefix("sqlite:///")).execute(query)
    cursor = psycopg.connect(url).cursor("export")
    cursor.itersize = _ROWS_A_FETCH
    return cursor.execute(query.encode())


class _ResultObject:
    """A row of ``results`` as an object of SQLAlchemy's, as most applications have it."""

    scores: Any


class _JobObject:
    """A row of ``jobs``, likewise."""

    payload: Any


def _objects(url: str, limit: int) -> Iterable[list[Any]]:
    mapper = registry()
    mapper.map_imperatively(_ResultObject, results)
    mapper.map_imperatively(_JobObject, jobs)
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    query = (
        select(_ResultObject, _JobObject)
        .outerjoin(jobs, jobs.c.id == results.c.id)
        .where(results.c.run_id == RUN)
        .order_by(results.c.finished_at, results.c.id)
        .limit(limit)
    )
    with Session(engine) as session:
        for result, job in session.execute(query.execution_options(yield_per=_ROWS_A_FETCH)):
            values = [getattr(result, name) for name in RESULT_COLUMNS]
            values[RESULT_COLUMNS.index("scores")] = json.dumps(result.scores)
            yield [*values, job.payload["text"]]


if __name__ == "__main__":
    main(*sys.argv[1:])
