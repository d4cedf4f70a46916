"""Looking costs what is ours, however much other applications keep in the same Redis."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import redis
from typer.testing import CliRunner

from labelmill.broker.heartbeat import HeartbeatWriter, heartbeat_key
from labelmill.broker.leases import Leases
from labelmill.cli.main import app
from labelmill.cli.probe import finds_ready
from labelmill.client import Client
from labelmill.core.errors import ServiceUnavailable

FOREIGN_KEYS = 20_000
HEAVY = ("redis", "typer", "rich", "pydantic", "sqlalchemy")


@pytest.fixture
def beside_others(
    broker: redis.Redis, redis_url: str, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker, a dead letter, and many keys of somebody else."""
    monkeypatch.setenv("LABELMILL_BROKER_URL", redis_url)
    monkeypatch.setenv("LABELMILL_DATABASE_URL", sqlite_url)
    broker.mset({f"theirs:{number}": "x" for number in range(FOREIGN_KEYS)})
    with Client() as client:
        client.submit_text("q", "x", id="died")
    leases = Leases(broker, 30.0)
    leases.bury("q", leases.take("q", 1, claim=True).leases)
    # A bare send_task, of which the ledger does not know.
    broker.lpush("other", "not a message")
    leases.bury("other", leases.take("other", 1, claim=True).leases)
    worker = HeartbeatWriter(broker, "w@elsewhere", lifetime=30)
    worker.models = ["q"]
    worker.write(
        worker.describe(
            groups=0, jobs=0, failed=0, in_flight=0, waiting_for=None, running={}, troubles={}
        )
    )
    broker.config_resetstat()


@pytest.mark.usefixtures("beside_others")
def test_no_command_walks_through_all_keys(broker: redis.Redis) -> None:
    run = CliRunner().invoke
    assert run(app, ["health", "--name", "w@elsewhere"]).exit_code == 0
    assert isinstance(run(app, ["health"]).exception, ServiceUnavailable)  # none of this host
    assert list(json.loads(run(app, ["status", "--json"]).stdout)["workers"][0]["models"]) == ["q"]
    letters = map(json.loads, run(app, ["dead", "list", "--json"]).stdout.splitlines())
    assert [letter["model"] for letter in letters] == ["other", "q"]
    called = {name.removeprefix("cmdstat_") for name in broker.info("commandstats")}
    assert not called & {"scan", "keys"}
    assert {"zrange", "get", "smembers"} <= called


@pytest.mark.usefixtures("beside_others")
def test_health_imports_next_to_nothing() -> None:
    """What it takes is the interpreter's start and two round trips."""
    asked = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "labelmill", "health", "--name", "w@elsewhere"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout == "alive\n"
    imported = {line.rpartition("|")[2].strip() for line in asked.stderr.splitlines()}
    assert "labelmill.cli.probe" in imported
    assert not imported & set(HEAVY)


@pytest.mark.usefixtures("beside_others")
def test_the_probe_leaves_the_rest_to_the_command(
    broker: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = ["--name", "w@elsewhere"]
    assert finds_ready(named)
    assert not finds_ready([])  # none of this host
    assert not finds_ready(["--help"])
    for path in ("/1", "/0?protocol=3"):
        monkeypatch.setenv("LABELMILL_BROKER_URL", redis_url.removesuffix("/0") + path)
        assert not finds_ready(named)
    broker.execute_command("ACL", "SETUSER", "probe", "on", ">p@ss:word", "~labelmill:*", "+get")
    host = redis_url.rpartition("@")[2]
    monkeypatch.setenv(
        "LABELMILL_BROKER_URL", f"redis://probe:p%40ss%3Aword@{host.removesuffix('/0')}"
    )
    assert finds_ready(named)
    monkeypatch.setenv("LABELMILL_BROKER_URL", f"redis://probe:wrong@{host}")
    assert not finds_ready(named)
    broker.acl_deluser("probe")
    monkeypatch.setenv("LABELMILL_BROKER_URL", redis_url)
    for changed in ({"state": "loading"}, {"waiting_for": "database"}):
        beat = json.loads(broker.get(heartbeat_key("w@elsewhere")))
        broker.set(heartbeat_key("w@elsewhere"), json.dumps(beat | changed))
        assert not finds_ready(named)
        broker.set(heartbeat_key("w@elsewhere"), json.dumps(beat))
    monkeypatch.delenv("LABELMILL_BROKER_URL")
    assert not finds_ready(named)
