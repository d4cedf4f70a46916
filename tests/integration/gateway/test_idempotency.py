"""Asking again: the same request gives the same answer, another is refused."""

from __future__ import annotations

import threading

import httpx
import redis

from labelmill.db.database import Database
from labelmill.gateway.settings import GatewaySettings
from tests.support.gateway import serving

ONE = {"model": "texts", "text": "Hello"}
MANY = {"model": "texts", "jobs": [{"text": "Hello"}, {"text": ""}, {"text": "Goodbye"}]}
KEY = {"Idempotency-Key": "order-17"}


def test_the_same_request_under_one_key_is_one_job(
    gateway_on_each: httpx.Client, redis_url: str
) -> None:
    first, second = (gateway_on_each.post("/v1/jobs", json=ONE, headers=KEY) for _ in range(2))
    assert (first.status_code, first.json()) == (202, second.json())
    assert second.status_code == 202
    other = gateway_on_each.post("/v1/jobs", json=ONE | {"text": "Other"}, headers=KEY)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert gateway_on_each.post("/v1/jobs", json=ONE).json()["id"] != first.json()["id"]


def test_the_same_run_under_one_key_is_one_run(gateway_on_each: httpx.Client) -> None:
    first, second = (gateway_on_each.post("/v1/jobs", json=MANY, headers=KEY) for _ in range(2))
    assert (first.status_code, first.json()) == (202, second.json())
    assert second.status_code == 202
    assert first.json()["jobs"][1]["error"]["code"] == "invalid_job"
    assert gateway_on_each.get(first.headers["location"]).json()["submitted"] == 2
    more = MANY | {"jobs": [*MANY["jobs"], {"text": "More"}]}
    fewer = MANY | {"jobs": MANY["jobs"][:1]}
    for other in (more, fewer, ONE, MANY | {"run": "mine"}):
        answer = gateway_on_each.post("/v1/jobs", json=other, headers=KEY)
        assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")
    assert gateway_on_each.get(first.headers["location"]).json()["submitted"] == 2


def test_a_run_of_which_an_id_was_taken_gives_the_same_answer_again(
    gateway_on_each: httpx.Client,
) -> None:
    jobs = [{"text": "Hello"}, {"text": "Hello", "id": "mine"}, {"text": "Other", "id": "mine"}]
    many = {"model": "texts", "jobs": jobs}
    first, second = (gateway_on_each.post("/v1/jobs", json=many, headers=KEY) for _ in range(2))
    assert first.json()["jobs"][2]["error"]["code"] == "duplicate_job"
    assert (second.status_code, second.json()) == (202, first.json())
    changed = many | {"jobs": [{"text": "Changed"}, *jobs[1:]]}
    assert gateway_on_each.post("/v1/jobs", json=changed, headers=KEY).status_code == 409


def test_an_id_of_ones_own_may_come_again_with_the_same_content_only(
    gateway_on_each: httpx.Client,
) -> None:
    mine = ONE | {"id": "a/b 1", "eta": "2030-01-01T00:00:00+02:00", "top_k": 2}
    first, second = (gateway_on_each.post("/v1/jobs", json=mine) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.headers["location"] == "/v1/jobs/a%2Fb%201"
    assert gateway_on_each.get(first.headers["location"]).json()["id"] == "a/b 1"
    other = gateway_on_each.post("/v1/jobs", json=mine | {"top_k": 3})
    assert (other.status_code, other.json()["code"]) == (409, "duplicate_job")
    jobs = [{"text": "Hello", "id": "a/b 1"}, {"text": "Hello", "id": "c"}]
    many = gateway_on_each.post("/v1/jobs", json={"model": "texts", "jobs": jobs}).json()["jobs"]
    assert many[0]["error"]["code"] == "duplicate_job"
    assert many[1]["id"] == "c"


def test_one_id_from_many_at_once_is_one_job(
    settings: GatewaySettings, redis_url: str, sqlite_url: str
) -> None:
    with serving(settings) as gateway, serving(settings) as other:
        answers: list[int] = []

        def submit(client: httpx.Client, text: str) -> None:
            with httpx.Client(base_url=client.base_url) as own:
                answer = own.post("/v1/jobs", json=ONE | {"id": "x", "text": text}, timeout=30)
                answers.append(answer.status_code)

        threads = [
            threading.Thread(target=submit, args=(client, text))
            for client in (gateway, other)
            for text in ("a", "a", "b", "b")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(answers) == [202] * 4 + [409] * 4
    with Database.open(sqlite_url) as database:
        kept = database.jobs.get("x")
        assert kept is not None
    with redis.Redis.from_url(redis_url) as broker:
        assert broker.llen("texts") >= 1


def test_the_same_image_under_another_name_is_the_same_request(gateway: httpx.Client) -> None:
    images = [{"uri": "a.png", "name": "first"}, {"uri": "a.png", "name": "second"}, {"uri": "b"}]
    first, second, other = (
        gateway.post("/v1/jobs", json={"model": "images", "image": image}, headers=KEY)
        for image in images
    )
    assert (second.status_code, second.json()) == (202, first.json())
    assert gateway.get(first.json()["url"]).json()["input"]["image"]["name"] == "first"
    assert other.status_code == 409
