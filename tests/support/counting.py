"""Counting what became of jobs: none lost, none twice, nothing left behind."""

from __future__ import annotations

from collections.abc import Sequence

import redis
from sqlalchemy import text

from labelmill.broker.inspect import QueueInspector
from labelmill.broker.queues import QueueKeys
from labelmill.client import Client
from labelmill.core.result import Result
from labelmill.db.database import Database
from tests.support.waiting import PATIENCE_S, wait_for

_FROZEN_SQLITE = """
CREATE TRIGGER written_once_{event} BEFORE {event} ON results
BEGIN SELECT RAISE(ABORT, 'a row was changed'); END
"""
_FROZEN_POSTGRESQL = """
CREATE FUNCTION written_once() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'a row was changed'; END $$;
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON results
FOR EACH ROW EXECUTE FUNCTION written_once();
"""


def freeze_results(database: Database) -> None:
    """Have the database refuse whatever would change or remove a row."""
    with database.engine.begin() as connection:
        if database.engine.dialect.name == "postgresql":
            connection.execute(text(_FROZEN_POSTGRESQL))
        else:
            for event in ("UPDATE", "DELETE"):
                connection.execute(text(_FROZEN_SQLITE.format(event=event)))


def database_of(client: Client) -> Database:
    """The client's database, to look at all rows."""
    return client._database


def rows_of(client: Client, ids: Sequence[str], timeout: float = 60) -> list[Result]:
    """The rows of these jobs, once each has one; and no row is of any other job."""
    database = database_of(client)
    wait_for(lambda: row_count(database) >= len(ids), timeout)
    rows = database.results.get_many(ids)
    assert len(set(ids)) == len(ids)
    assert [each for each in ids if each not in rows] == [], "lost"
    assert row_count(database) == len(ids), "rows that nobody asked for"
    return [rows[each] for each in ids]


def row_count(database: Database) -> int:
    """How many rows there are."""
    return sum(each.succeeded + each.failed for each in database.results.counts().values())


def depth(broker: redis.Redis, queue: str = "scripted") -> dict[str, int]:
    """How many jobs of the queue are where."""
    return dict(QueueInspector(broker).depths([queue])[queue])


def wait_until_nothing_is_left(
    broker: redis.Redis, queue: str = "scripted", timeout: float = PATIENCE_S
) -> None:
    """Wait until Redis knows of no job of the queue, and of nothing that kombu would have taken."""
    keys = QueueKeys(queue)
    books = [keys.messages, keys.attempts, keys.deadlines, keys.delayed]
    mine = [*keys.lists, *books, keys.excused]
    wait_for(lambda: broker.exists(*mine) == 0, timeout)
    # A worker that was killed leaves a note of its last group: that it had begun with it.
    wait_for(lambda: all(b"+" in note.split()[0] for note in broker.hvals(keys.unstarted)))
    assert not broker.exists("unacked")
