"""Faults of an SQLite database."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing

from tests.soak.faults.fault import fault
from tests.soak.site import Site


@fault("sqlite-locked", "sqlite")
def _locked(site: Site, chance: random.Random) -> Iterator[float]:
    """Somebody writes for some seconds."""
    path = site.database_url.removeprefix("sqlite:///")
    with (
        site.taking("sqlite"),
        closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as database,
    ):
        database.execute("BEGIN IMMEDIATE")
        yield chance.uniform(1, 8)
        database.execute("ROLLBACK")
