"""The how-to's own SQL, on the database that it is for."""

from __future__ import annotations

import json

import psycopg
import redis
from sqlalchemy import make_url

from labelmill.broker import message
from labelmill.client import Client
from labelmill.core.ids import new_id
from tests.support.fences import blocks


def test_a_job_by_a_driver_of_the_database(redis_url: str, postgresql_url: str) -> None:
    [block] = [
        block
        for block in blocks()
        if block.page == "docs/how-to/enqueue.md" and "psycopg.connect" in block.text
    ]
    url = make_url(postgresql_url).set(drivername="postgresql")
    url = url.render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE tickets (id INTEGER PRIMARY KEY, text TEXT)")
    with Client(redis_url, postgresql_url) as client, redis.Redis.from_url(redis_url) as broker:
        given = {"url": url, "text": "Where is my parcel?", "job_id": new_id(), "client": client}
        exec(block.text, {"psycopg": psycopg, "json": json, **given})

        [sent] = map(message.decode, broker.lrange("topics", 0, -1))
        assert (sent.id, sent.error) == (given["job_id"], None)
        assert sent.job is not None
        assert sent.job.text == given["text"]
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT * FROM tickets").fetchall() == [(7, given["text"])]
