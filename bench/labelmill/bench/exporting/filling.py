"""Filling: a run's results and its jobs, put into a database past the workers.

The rows are made up: sixteen words a text, five labels with scores, one job in a hundred failed.
They are written in the order in which they were finished, as workers write them.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from labelmill.sources.ids import row_id

RUN = "export"
MODEL = "topics"

_START = datetime(2026, 5, 17, 12, tzinfo=UTC)
_A_SECOND = 4000
_LABELS = ("complaint", "praise", "question", "order", "other")
_WORDS = (
    *("the", "parcel", "never", "came", "I", "want", "my", "money", "back", "please", "call", "me"),
    *("great", "service", "thank", "you", "invoice", "wrong", "order", "late", "broken", "sofa"),
)
_JOB_COLUMNS = ("id", "run_id", "model", "payload", "priority", "enqueued_at", "due_at")
_RESULT_COLUMNS = (
    *("id", "run_id", "model", "checkpoint", "revision", "status", "label", "score", "scores"),
    *("error_code", "error_message", "attempt", "group_size", "worker"),
    *("enqueued_at", "started_at", "finished_at"),
)

_Row = tuple[Any, ...]


def fill(url: str, rows: int) -> None:
    """Write so many results and their jobs into a migrated, empty database."""
    (_fill_sqlite if url.startswith("sqlite") else _fill_postgresql)(url, rows)


def _fill_sqlite(url: str, rows: int) -> None:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    try:
        for table, columns, content in _tables(rows):
            places = ", ".join("?" * len(columns))
            connection.executemany(
                f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})",
                (tuple(map(_for_sqlite, row)) for row in content),
            )
            connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def _for_sqlite(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    return value


def _fill_postgresql(url: str, rows: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for table, columns, content in _tables(rows):
            statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
            with connection.cursor().copy(statement.encode()) as copy:
                for row in content:
                    copy.write_row(row)
        connection.execute("VACUUM (ANALYZE) jobs, results")


def _tables(rows: int) -> Iterator[tuple[str, tuple[str, ...], Iterator[_Row]]]:
    yield "jobs", _JOB_COLUMNS, _jobs(rows)
    yield "results", _RESULT_COLUMNS, _results(rows)


def _jobs(rows: int) -> Iterator[_Row]:
    chosen = random.Random(1)
    for number in range(1, rows + 1):
        text = " ".join([*chosen.choices(_WORDS, k=16), str(number)])
        payload = json.dumps({"text": text, "run": RUN}, separators=(",", ":"))
        yield row_id(RUN, number), RUN, MODEL, payload, 0, _START, _START


def _results(rows: int) -> Iterator[_Row]:
    chosen = random.Random(2)
    for number in range(1, rows + 1):
        finished = _START + timedelta(seconds=number / _A_SECOND)
        yield (
            *(row_id(RUN, number), RUN, MODEL, "org/topics", "a" * 40),
            *(_failure() if chosen.random() < 0.01 else _success(chosen)),
            *(1, 128, "worker@host", _START, finished - timedelta(milliseconds=20), finished),
        )


def _success(chosen: random.Random) -> _Row:
    labels = chosen.sample(_LABELS, len(_LABELS))
    best = chosen.uniform(0.5, 1)
    values = [best, *((1 - best) / 2**place for place in range(1, len(labels)))]
    scores = [{"label": label, "score": s} for label, s in zip(labels, values, strict=True)]
    return "succeeded", labels[0], best, json.dumps(scores, separators=(",", ":")), None, None


def _failure() -> _Row:
    return "failed", None, None, None, "model_failed", "the model raised"
