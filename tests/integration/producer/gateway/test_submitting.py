"""Submitting: what is accepted is in the ledger and the queue, and what is not says why."""

from __future__ import annotations

import httpx
import pytest
import redis


def test_a_text_is_in_the_ledger_and_the_queue(
    gateway_on_each: httpx.Client, redis_url: str
) -> None:
    answer = gateway_on_each.post("/v1/jobs", json={"model": "texts", "text": "Hello"})
    assert answer.status_code == 202, answer.text
    body = answer.json()
    assert body == {"id": body["id"], "state": "queued", "url": f"/v1/jobs/{body['id']}"}
    assert answer.headers["location"] == body["url"]
    job = gateway_on_each.get(body["url"]).json()
    assert (job["state"], job["input"]) == ("queued", {"text": "Hello"})
    with redis.Redis.from_url(redis_url) as broker:
        assert broker.llen("texts") == 1


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models",
        "/v1/health",
        "/v1/runs",
        "/v1/results",
        "/v1/results/summary",
        "/v1/dead",
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/",
    ],
)
def test_everything_answers(gateway: httpx.Client, path: str) -> None:
    assert gateway.get(path).status_code == 200
