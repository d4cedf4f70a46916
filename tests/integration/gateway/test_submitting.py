"""Submitting: what is accepted is in the ledger and the queue, and what is not says why."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import PIL.Image
import pytest
import redis

from labelmill.core.result import Result
from labelmill.db.database import Database
from tests.support.images import encoded
from tests.support.rows import a_result

PNG = encoded(PIL.Image.new("RGB", (8, 8), "red"))


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


def finished(job_id: str) -> Result:
    now = datetime.now(UTC)
    return a_result(job_id, run_id="r", model="images", label="seven", finished_at=now)


def test_an_uploaded_file_keeps_its_name_to_be_shown_and_found_by(
    gateway_on_each: httpx.Client, database_url: str
) -> None:
    files = [("file", (name, PNG, "image/png")) for name in (r"C:\Scans\Größe 1.png", "\x00", "")]
    form = {"model": "images", "run": "r"}
    answer = gateway_on_each.post("/v1/jobs", data=form, files=files[:2])
    assert answer.status_code == 202, answer.text
    one, two = (gateway_on_each.get(each["url"]).json() for each in answer.json()["jobs"])
    assert one["input"]["image"]["name"] == "Größe 1.png"
    assert one["input"]["image"]["uri"] == two["input"]["image"]["uri"]
    with Database.open(database_url) as database:
        database.results.write([finished(one["id"]), finished(two["id"])])
    for words in ("GRÖßE", "sha256"):
        found = gateway_on_each.get("/v1/results", params={"q": words}).json()["results"]
        assert one["input"] in [each["input"] for each in found]
    assert gateway_on_each.get("/v1/results", params={"q": "Scans"}).json()["results"] == []


def test_an_image_in_json_may_have_a_name_and_need_not(gateway: httpx.Client) -> None:
    inputs = []
    for image in (
        {"uri": "a.png", "name": "A\nB"},
        {"base64": "eA==", "name": "b"},
        {"uri": "a.png"},
        {"base64": "eA=="},
    ):
        url = gateway.post("/v1/jobs", json={"model": "images", "image": image}).json()["url"]
        inputs.append(gateway.get(url).json()["input"]["image"])
    assert inputs == [
        {"uri": "a.png", "name": "A B"},
        {"inline": True, "name": "b"},
        {"uri": "a.png"},
        {"inline": True},
    ]
