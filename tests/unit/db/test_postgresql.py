from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from labelmill.core.errors import ConfigurationError
from labelmill.db import postgresql
from labelmill.db.connection import create_database_engine


@pytest.fixture
def connect_args(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """What psycopg gets of a URL, without connecting."""
    seen: dict[str, Any] = {}

    def connect(**options: Any) -> None:
        seen.update(options)
        raise psycopg.OperationalError("not for real")

    def of(url: str) -> dict[str, Any]:
        with pytest.raises(OperationalError, match="not for real"):
            create_database_engine(url).connect()
        return seen

    monkeypatch.setattr(postgresql.BoundedConnection, "connect", connect)
    return of


@pytest.mark.parametrize(
    ("url", "hosts", "ports"),
    [
        ("postgresql://u:p@one:1,two:2/name", "one,two", "1,2"),
        ("postgres://u:p@one,two:2/name?connect_timeout=3", "one,two", "5432,2"),
        ("postgresql://u:p@[::1]:7,[fe80::1]/name", "::1,fe80::1", "7,5432"),
        ("postgresql://u:p@one:1,two:2", "one,two", "1,2"),
        ("postgresql+psycopg://one:1,two:2/name", "one,two", "1,2"),
        ("postgresql://u:p@/name?host=one:1&host=two:2", "one,two", "1,2"),
        ("postgresql://u:p@one:7/name", "one", "7"),
        ("postgresql://u:p@[::1]:7/name", "::1", "7"),
        ("postgresql://u:p,@one/name", "one", "5432"),
    ],
)
def test_hosts_and_ports(
    url: str,
    hosts: str,
    ports: str,
    connect_args: Callable[[str], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGPORT", "1234")
    found = connect_args(url)
    assert (found["host"], str(found["port"])) == (hosts, ports)
    assert found.get("dbname") == ("name" if "/name" in url else None)
    several = "," in hosts
    assert found["target_session_attrs"] == ("primary" if several else "any")


def test_what_the_url_says_goes_before(connect_args: Callable[[str], dict[str, Any]]) -> None:
    found = connect_args("postgresql://h/n?target_session_attrs=standby&connect_timeout=2")
    assert (found["target_session_attrs"], found["connect_timeout"]) == ("standby", "2")


@pytest.mark.parametrize(
    "option", ["silence_timeout=0", "silence_timeout=soon", "prepare_threshold=often"]
)
def test_options_of_the_url_that_are_none(option: str) -> None:
    with pytest.raises(ConfigurationError, match=option.partition("=")[0]) as caught:
        create_database_engine(f"postgresql://u:hunter2@h/n?{option}")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("given", "threshold"), [("", 5), ("none", None), ("0", 0), ("9", 9)])
def test_when_statements_are_prepared(given: str, threshold: int | None) -> None:
    assert postgresql._threshold(given or "5") == threshold


def test_silence_is_counted_from_what_was_heard_last() -> None:
    patience = postgresql._Patience(0.05, None)
    for _ in range(4):
        time.sleep(0.03)
        patience.use_up()
        patience.renew()
    time.sleep(0.06)
    with pytest.raises(postgresql.ServerSilent, match="silent for"):
        patience.use_up()


@pytest.mark.parametrize(
    ("answers", "asked"),
    [([True, True, False, False], 4), ([None, None, None], 3), ([False, True, None, False], 4)],
)
def test_a_server_that_says_what_it_does(answers: list[bool | None], asked: int) -> None:
    given = iter(answers)
    calls: list[bool | None] = []

    def working() -> bool | None:
        calls.append(next(given))
        return calls[-1]

    patience = postgresql._Patience(0.0, working)
    for _ in range(asked - 1):
        patience.use_up()
    patience._until = 0.0
    with pytest.raises(postgresql.ServerSilent):
        patience.use_up()
    assert len(calls) == asked
