"""The audit: triggers write down every change of a row, and what happened is counted from that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

# The moments are seconds since 1970, by the clock of this machine: servers and tests share it.
_POSTGRESQL = """
CREATE TABLE audit (
    number bigserial PRIMARY KEY,
    at double precision NOT NULL,
    relation text NOT NULL,
    event text NOT NULL,
    id text NOT NULL,
    worker text
);
CREATE INDEX ON audit (at);
CREATE FUNCTION audited() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed jsonb := to_jsonb(coalesce(NEW, OLD));
BEGIN
    INSERT INTO audit (at, relation, event, id, worker) VALUES (
        extract(epoch FROM clock_timestamp()), TG_TABLE_NAME, TG_OP, changed ->> 'id',
        changed ->> 'worker');
    RETURN NULL;
END $$;
CREATE TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON results
FOR EACH ROW EXECUTE FUNCTION audited();
CREATE TRIGGER audited AFTER UPDATE OR DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION audited();
"""
_SQLITE = (
    """
    CREATE TABLE audit (
        number INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        relation TEXT NOT NULL,
        event TEXT NOT NULL,
        id TEXT NOT NULL,
        worker TEXT
    )
    """,
    "CREATE INDEX audit_at ON audit (at)",
)
_SQLITE_TRIGGER = """
CREATE TRIGGER audited_{relation}_{event} AFTER {event} ON {relation} BEGIN
INSERT INTO audit (at, relation, event, id, worker) VALUES (
    (julianday('now') - 2440587.5) * 86400.0, '{relation}', '{event}', {row}.id, {worker});
END
"""


class Change(NamedTuple):
    """One change of one row.

    Attributes:
        at: seconds since 1970.
        relation: ``results``, or ``jobs`` (whose INSERTs are not audited).
        event: INSERT, UPDATE or DELETE.
        worker: who wrote the result; None for ``jobs``.
    """

    at: float
    relation: str
    event: str
    id: str
    worker: str | None


class Audit:
    """Reads what the triggers wrote, by a way to the database that no fault is built into.

    Parameters:
        url: of a migrated database.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)

    def begin(self) -> None:
        """Make the table and its triggers."""
        with self.connection() as connection:
            if self._engine.dialect.name == "postgresql":
                connection.execute(text(_POSTGRESQL))
                return
            for statement in _SQLITE:
                connection.execute(text(statement))
            for relation, happening in (
                ("results", "INSERT"),
                ("results", "UPDATE"),
                ("results", "DELETE"),
                ("jobs", "UPDATE"),
                ("jobs", "DELETE"),
            ):
                row = "OLD" if happening == "DELETE" else "NEW"
                worker = f"{row}.worker" if relation == "results" else "NULL"
                connection.execute(
                    text(
                        _SQLITE_TRIGGER.format(
                            relation=relation, event=happening, row=row, worker=worker
                        )
                    )
                )

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A transaction, whatever the server's defaults are just now."""
        with self._engine.begin() as connection:
            yield connection

    def rows(self) -> int:
        """How many results were inserted."""
        found: int = self._all("SELECT count(*) FROM audit WHERE relation = 'results'")[0][0]
        return found

    def writers(self, since: float) -> dict[str, float]:
        """The workers that have written results since a moment, and when each did so last."""
        query = (
            "SELECT worker, max(at) FROM audit WHERE relation = 'results' AND at >= :since "
            "GROUP BY worker"
        )
        return {str(name): float(at) for name, at in self._all(query, since=since)}

    def changes(self) -> list[Change]:
        """All that happened, in its order."""
        query = "SELECT at, relation, event, id, worker FROM audit ORDER BY number"
        return [Change(*row) for row in self._all(query)]

    def outcomes(self) -> dict[str, str | None]:
        """The error code of each result, None for those that succeeded, by id."""
        return {str(id): code for id, code in self._all("SELECT id, error_code FROM results")}

    def _all(self, query: str, **parameters: Any) -> Sequence[Any]:
        with self.connection() as connection:
            return connection.execute(text(query), parameters).all()


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.drivername.startswith("sqlite"):
        return create_engine(parsed, poolclass=NullPool, connect_args={"timeout": 30})
    return create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        poolclass=NullPool,
        connect_args={
            "connect_timeout": 5,
            "options": "-c statement_timeout=0 -c default_transaction_read_only=off",
        },
    )
