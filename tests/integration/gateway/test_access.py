"""Access: open on loopback to this machine alone, and by token everywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from labelmill.db.database import Database
from labelmill.gateway.secrets import Scope, make
from labelmill.gateway.settings import GatewaySettings
from tests.support.gateway import serving, settings_for

JOB = {"model": "texts", "text": "Hello"}


def bearer(database: Database, *scopes: Scope) -> dict[str, str]:
    secret, kept = make("test", scopes)
    database.tokens.add(kept)
    return {"Authorization": f"Bearer {secret}"}


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "169.254.169.254", ""])
def test_an_open_gateway_answers_no_other_host(gateway: httpx.Client, host: str) -> None:
    answer = gateway.get("/v1/results", headers={"Host": host})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden_host")


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8765", "127.0.0.1", "[::1]:1", "127.1.2.3"]
)
def test_an_open_gateway_answers_this_machine(gateway: httpx.Client, host: str) -> None:
    assert gateway.get("/v1/results", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_site_submits_nothing(gateway: httpx.Client, headers: dict[str, str]) -> None:
    answer = gateway.post("/v1/jobs", json=JOB, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden_origin")
    assert gateway.get("/v1/models").json()["models"][0]["waiting"] == 0


def test_its_own_page_submits(gateway: httpx.Client) -> None:
    own = {"Origin": str(gateway.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert gateway.post("/v1/jobs", json=JOB, headers=own).status_code == 202


def test_no_other_site_reads_an_answer(gateway: httpx.Client) -> None:
    answer = gateway.get("/v1/results", headers={"Origin": "http://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


REQUESTS: Sequence[tuple[str, str, Scope]] = [
    ("POST", "/v1/jobs", Scope.SUBMIT),
    ("GET", "/v1/jobs/a", Scope.READ),
    ("GET", "/v1/jobs/a/thumbnail", Scope.READ),
    ("GET", "/v1/results", Scope.READ),
    ("GET", "/v1/results/summary", Scope.READ),
    ("GET", "/v1/runs", Scope.READ),
    ("GET", "/v1/runs/a", Scope.READ),
    ("GET", "/v1/runs/a/throughput", Scope.READ),
    ("GET", "/v1/models", Scope.READ),
    ("GET", "/v1/health", Scope.READ),
    ("GET", "/v1/dead", Scope.READ),
    ("POST", "/v1/dead/a/replay", Scope.ADMIN),
]


def test_elsewhere_each_request_needs_a_token_of_its_scope(
    redis_url: str, database_url: str, database: Database, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, redis_url, database_url)
    with serving(settings, host="0.0.0.0") as gateway:
        documented = {
            (method.upper(), path.replace("{id}", "a"))
            for path, methods in gateway.get("/openapi.json").json()["paths"].items()
            for method in methods
            if path.startswith("/v1/")
        }
        assert {(method, path) for method, path, _ in REQUESTS} == documented - {
            ("GET", "/v1/events")
        }
        tokens = {scope: bearer(database, scope) for scope in Scope}
        unknown = {"Authorization": f"Bearer {make('nobody', [Scope.ADMIN])[0]}"}
        for method, path, needed in [*REQUESTS, ("GET", "/v1/events", Scope.SUBMIT)]:
            for headers in ({}, unknown, {"Authorization": "Basic YTpi"}):
                answer = gateway.request(method, path, json=JOB, headers=headers)
                assert answer.status_code == 401, path
                assert answer.headers["www-authenticate"] == "Bearer"
            if path == "/v1/events":
                continue
            for scope, headers in tokens.items():
                answer = gateway.request(method, path, json=JOB, headers=headers)
                allowed = scope in (needed, Scope.ADMIN)
                assert (answer.status_code == 403) == (not allowed), (path, scope)


def test_from_the_first_token_on_loopback_needs_one_too(
    settings: GatewaySettings, sqlite_url: str
) -> None:
    with Database.open(sqlite_url) as database:
        headers = bearer(database, Scope.READ)
        with serving(settings) as gateway:
            assert gateway.get("/v1/results").status_code == 401
            assert gateway.get("/v1/results", headers=headers).status_code == 200
            # A token is not sent by itself: other names for this machine do no harm now.
            elsewhere = headers | {"Host": "labelmill.example"}
            assert gateway.get("/v1/results", headers=elsewhere).status_code == 200


def test_a_revoked_token_is_worth_nothing(settings: GatewaySettings, sqlite_url: str) -> None:
    with Database.open(sqlite_url) as database:
        bearer(database, Scope.READ)
        headers = bearer(database, Scope.READ)
        tokens = database.tokens
        last = tokens.all()[-1]
        assert tokens.revoke(last.id, datetime.now(UTC))
        assert not tokens.revoke(last.id, datetime.now(UTC))
        with serving(settings) as gateway:
            assert gateway.get("/v1/results", headers=headers).status_code == 401


def test_to_revoke_the_last_token_lets_nobody_in(
    settings: GatewaySettings, sqlite_url: str
) -> None:
    with Database.open(sqlite_url) as database:
        bearer(database, Scope.ADMIN)
        tokens = database.tokens
        assert tokens.revoke(tokens.all()[0].id, datetime.now(UTC))
    with serving(settings) as gateway:
        assert gateway.get("/v1/results").status_code == 401


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "Via", "X-Real-IP"])
def test_what_a_proxy_passes_on_needs_a_token(gateway: httpx.Client, header: str) -> None:
    answer = gateway.get("/v1/results", headers={header: "for=192.0.2.1"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden_proxy")


def test_only_a_hash_of_a_token_is_kept(sqlite_url: str) -> None:
    secret, kept = make("test", [Scope.READ])
    with Database.open(sqlite_url) as database:
        database.tokens.add(kept)
    assert secret.startswith("lm_")
    assert secret.encode() not in Path(sqlite_url.removeprefix("sqlite:///")).read_bytes()


@pytest.mark.parametrize("storage", ["memory", "redis"])
def test_a_token_has_its_rate(
    redis_url: str, sqlite_url: str, tmp_path: Path, storage: str
) -> None:
    settings = settings_for(
        tmp_path, redis_url, sqlite_url, rate_limit="3/hour", rate_limit_storage=storage
    )
    with Database.open(sqlite_url) as database, serving(settings) as gateway:
        one, other = bearer(database, Scope.READ), bearer(database, Scope.READ)
        statuses = [gateway.get("/v1/runs", headers=one).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        answer = gateway.get("/v1/runs", headers=one)
        assert answer.json()["code"] == "rate_limited"
        assert int(answer.headers["retry-after"]) >= 1
        assert gateway.get("/v1/runs", headers=other).status_code == 200


def test_nobody_guesses_tokens_for_long(redis_url: str, sqlite_url: str, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, redis_url, sqlite_url, rate_limit="3/hour")
    with Database.open(sqlite_url) as database, serving(settings) as gateway:
        bearer(database, Scope.READ)
        guesses = [{"Authorization": f"Bearer lm_{number}"} for number in range(4)]
        statuses = [gateway.get("/v1/runs", headers=each).status_code for each in guesses]
        assert statuses == [401, 401, 401, 429]


def test_guesses_push_out_no_bearer(
    redis_url: str, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labelmill.gateway.auth._REMEMBERED", 2)
    settings = settings_for(tmp_path, redis_url, sqlite_url, rate_limit="5/hour")
    with Database.open(sqlite_url) as database, serving(settings) as gateway:
        headers = bearer(database, Scope.READ)
        assert gateway.get("/v1/runs", headers=headers).status_code == 200
        guesses = [{"Authorization": f"Bearer lm_{number}"} for number in range(5)]
        statuses = [gateway.get("/v1/runs", headers=each).status_code for each in guesses]
        assert statuses == [401] * 4 + [429]
        assert gateway.get("/v1/runs", headers=headers).status_code == 200


def test_a_full_queue_takes_no_more(redis_url: str, sqlite_url: str, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, redis_url, sqlite_url, max_waiting=2)
    with serving(settings) as gateway:
        statuses = [gateway.post("/v1/jobs", json=JOB).status_code for _ in range(3)]
        assert statuses == [202, 202, 429]
        answer = gateway.post("/v1/jobs", json=JOB)
        assert answer.json()["code"] == "queue_full"
        assert int(answer.headers["retry-after"]) >= 1
