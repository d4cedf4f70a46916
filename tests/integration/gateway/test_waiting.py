"""Waiting: whoever waits for a job is told when its row is there, announced or not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from labelmill.broker.announcements import FIELD, STREAM, encode, of_results
from labelmill.core.result import Result
from labelmill.db.database import Database
from labelmill.gateway.settings import GatewaySettings
from tests.support.gateway import serving, settings_for
from tests.support.rows import a_result
from tests.support.waiting import wait_for


def row(job_id: str, **values: Any) -> Result:
    now = datetime.now(UTC)
    times = {"enqueued_at": now, "started_at": now, "finished_at": now}
    return a_result(job_id, **{"model": "texts", "score": 0.75, **times, **values})


class Worker:
    """Finishes jobs as a worker would."""

    def __init__(self, database_url: str, redis_url: str, *, announces: bool) -> None:
        self._database = Database.open(database_url)
        self._broker = redis.Redis.from_url(redis_url)
        self._announces = announces

    def finish(self, *ids: str, **values: object) -> str:
        rows = [row(each, **values) for each in ids]
        self._database.results.write(rows)
        if not self._announces:
            return ""
        return self._broker.xadd(STREAM, {FIELD: encode(of_results(rows))}).decode()  # type: ignore[no-any-return,union-attr]

    def close(self) -> None:
        self._database.close()
        self._broker.close()


@pytest.fixture(params=[True, False], ids=["announced", "silent"])
def worker(request: pytest.FixtureRequest, sqlite_url: str, redis_url: str) -> Iterator[Worker]:
    worker = Worker(sqlite_url, redis_url, announces=request.param)
    yield worker
    worker.close()


def test_a_request_waits_for_its_job(gateway: httpx.Client, worker: Worker) -> None:
    url = gateway.post("/v1/jobs", json={"model": "texts", "text": "Hello"}).json()["url"]
    timer = threading.Timer(0.3, worker.finish, [url.rpartition("/")[2]])
    timer.start()
    job = gateway.get(url, params={"wait": "20s"}).json()
    timer.join()
    assert (job["state"], job["result"]["label"]) == ("succeeded", "good")


def test_a_request_waits_no_longer_than_it_asked_for(gateway: httpx.Client) -> None:
    url = gateway.post("/v1/jobs", json={"model": "texts", "text": "Hello"}).json()["url"]
    assert gateway.get(url, params={"wait": "0.1s"}).json()["state"] == "queued"
    assert gateway.get("/v1/jobs/unknown", params={"wait": "20s"}).status_code == 404


class Reader(threading.Thread):
    """Reads a stream of events until it has a number of them."""

    def __init__(
        self, gateway: httpx.Client, count: int, last: str | None = None, **params: str
    ) -> None:
        super().__init__(daemon=True)
        self.events: list[dict[str, str]] = []
        self._count = count
        self._url = gateway.base_url
        self._headers = {"Last-Event-ID": last} if last else {}
        self._params = params
        self._heard = threading.Event()
        self.start()
        assert self._heard.wait(30)

    def ids(self) -> list[str]:
        self.join(30)
        assert not self.is_alive()
        return [json.loads(each["data"])["id"] for each in self.events]

    def run(self) -> None:
        with (
            httpx.Client(base_url=self._url, timeout=30) as client,
            client.stream(
                "GET", "/v1/events", params=self._params, headers=self._headers
            ) as answer,
        ):
            event: dict[str, str] = {}
            for line in answer.iter_lines():
                self._heard.set()
                key, _, value = line.partition(": ")
                if key:
                    event[key] = value
                elif "data" in event:
                    self.events.append(event)
                    event = {}
                if len(self.events) == self._count:
                    return


def test_a_stream_has_what_is_finished_from_now_on(gateway: httpx.Client, worker: Worker) -> None:
    worker.finish("before")
    everything = Reader(gateway, 3)
    of_a_run = Reader(gateway, 1, run="mine")
    of_a_model = Reader(gateway, 1, model="images")
    worker.finish("a")
    worker.finish("b", run_id="mine")
    worker.finish("c", model="images")
    assert of_a_run.ids() == ["b"]
    assert of_a_model.ids() == ["c"]
    # Where nobody announces, what was finished a moment before may come too.
    assert set(everything.ids()) <= {"before", "a", "b", "c"}
    assert {each["event"] for each in everything.events} == {"result"}


def test_a_stream_goes_on_after_the_last_event_that_was_read(
    gateway: httpx.Client, sqlite_url: str, redis_url: str
) -> None:
    worker = Worker(sqlite_url, redis_url, announces=True)
    first = worker.finish("a", "b")
    second = worker.finish("c", "d")
    reader = Reader(gateway, 4, last="0-1")
    assert reader.ids() == ["a", "b", "c", "d"]
    # An entry has been read when the last of its jobs has.
    assert [each.get("id") for each in reader.events] == [None, first, None, second]
    assert Reader(gateway, 2, last=first).ids() == ["c", "d"]
    worker.close()


def test_streams_are_bounded_and_given_back(
    redis_url: str, sqlite_url: str, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, redis_url, sqlite_url, max_event_streams=1)
    worker = Worker(sqlite_url, redis_url, announces=True)
    with serving(settings) as gateway:
        reader = Reader(gateway, 1)
        refused = gateway.get("/v1/events")
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_streams")
        worker.finish("a")
        assert reader.ids() == ["a"]
        wait_for(lambda: _opens(gateway))
    worker.close()


def _opens(gateway: httpx.Client) -> bool:
    with gateway.stream("GET", "/v1/events") as answer:
        return answer.status_code == 200


def test_an_ending_gateway_lets_its_readers_go(settings: GatewaySettings) -> None:
    with serving(settings) as gateway:
        reader = Reader(gateway, 1)
    reader.join(5)
    assert not reader.is_alive()
