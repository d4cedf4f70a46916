"""Looking costs what is ours, however much other applications keep in the same Redis."""

from __future__ import annotations

import json

import pytest
import redis
from typer.testing import CliRunner

from labelmill.broker.heartbeat import HeartbeatWriter
from labelmill.broker.leases import Leases
from labelmill.cli.main import app
from labelmill.client import Client
from labelmill.core.errors import ServiceUnavailable

FOREIGN_KEYS = 20_000


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
    worker = HeartbeatWriter(broker, "w@elsewhere", ["q"], lifetime=30)
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
