"""Faults of the PostgreSQL server."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.soak.faults.fault import fault
from tests.soak.site import Site

_OURSELVES = "-c statement_timeout=0 -c default_transaction_read_only=off"
_ONLY = "postgresql"
_TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


@contextmanager
def _administrator(site: Site) -> Iterator[psycopg.Connection]:
    assert site.postgresql is not None
    with psycopg.connect(site.postgresql.url, autocommit=True, options=_OURSELVES) as connection:
        yield connection


def _set_for_a_while(site: Site, chance: random.Random, setting: bytes) -> Iterator[float]:
    """Change a default of the server's, or of the database's.

    The server's is for open sessions, too. The database's is for those that begin meanwhile, which
    keep it for as long as they last: all are made to begin anew.
    """
    name = setting.partition(b" ")[0]
    of_the_server = chance.random() < 0.5
    scope = b"ALTER SYSTEM" if of_the_server else b"ALTER DATABASE postgres"
    with site.taking("postgresql"):
        with _administrator(site) as administrator:
            administrator.execute(scope + b" SET " + setting)
            administrator.execute("SELECT pg_reload_conf()" if of_the_server else _TERMINATE)
        yield chance.uniform(1, 8)
        with _administrator(site) as administrator:
            administrator.execute(scope + b" RESET " + name)
            administrator.execute("SELECT pg_reload_conf()")


@fault("postgresql-killed", _ONLY)
def _killed(site: Site, chance: random.Random) -> Iterator[float]:
    with site.taking("postgresql"):
        assert site.postgresql is not None
        site.postgresql.kill()
        yield chance.uniform(0, 5)
        site.postgresql.start()


@fault("postgresql-read-only", _ONLY)
def _read_only(site: Site, chance: random.Random) -> Iterator[float]:
    """As managed databases do at a full disk."""
    yield from _set_for_a_while(site, chance, b"default_transaction_read_only = on")


@fault("postgresql-statement-timeout", _ONLY)
def _statement_timeout(site: Site, chance: random.Random) -> Iterator[float]:
    yield from _set_for_a_while(site, chance, b"statement_timeout = 1")


@fault("postgresql-terminated", _ONLY)
def _terminated(site: Site, chance: random.Random) -> Iterator[float]:
    """Every connection, by the administrator."""
    with site.taking("postgresql"), _administrator(site) as administrator:
        administrator.execute(_TERMINATE)
    yield 0


@fault("postgresql-locked", _ONLY)
def _locked(site: Site, chance: random.Random) -> Iterator[float]:
    """For writers, as by a migration."""
    with (
        site.taking("postgresql"),
        _administrator(site) as administrator,
        administrator.transaction(),
    ):
        administrator.execute("LOCK TABLE results IN EXCLUSIVE MODE")
        yield chance.uniform(1, 8)
