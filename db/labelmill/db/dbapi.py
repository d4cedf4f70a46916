"""The ledger's row as SQL text, for transactions that are not SQLAlchemy's."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Protocol

from labelmill.core.errors import ConfigurationError
from labelmill.core.job import SubmittedJob
from labelmill.db.errors import RowsNotKept
from labelmill.db.refusals import refusal
from labelmill.db.rows import storable_jobs

_COLUMNS = (
    "id, run_id, model, payload, priority, eta, expires_at, enqueued_at, due_at"  # in this order
)


class DBAPICursor(Protocol):
    """A DB-API cursor whose parameters are written ``%s``."""

    rowcount: int

    def execute(self, statement: str, parameters: Any, /) -> Any:
        """Run a statement."""

    def fetchone(self) -> Any:
        """The next row of its answer, or None."""


def add_job_by_cursor(
    cursor: DBAPICursor, vendor: str, schema: str | None, job: SubmittedJob
) -> bool:
    """Write a job into the ledger on a cursor of the caller's; False if it was there.

    Parameters:
        vendor: ``sqlite`` or ``postgresql``.
        schema: in which the ledger lies; None for wherever the cursor finds it.

    Raises:
        ConfigurationError: the vendor is another.
        JobError: the database took the job and did not keep it; the driver's own error is raised
            where it refuses it.
    """
    if vendor not in ("sqlite", "postgresql"):
        raise ConfigurationError(
            f"a {vendor} transaction cannot hold jobs: begin it on the results database, SQLite or"
            " PostgreSQL"
        )
    [values] = storable_jobs([job])
    is_sqlite = vendor == "sqlite"
    payload = json.dumps(values["payload"])
    moments = [values["eta"], values["expires_at"], values["enqueued_at"], values["due_at"]]
    parameters = [
        values["id"],
        values["run_id"],
        values["model"],
        payload,
        values["priority"],
        *([_sqlite_time(each) for each in moments] if is_sqlite else moments),
    ]
    document = "%s" if is_sqlite else "CAST(%s AS json)"
    table = f'"{schema}".jobs' if schema else "jobs"
    cursor.execute(
        f"INSERT INTO {table} ({_COLUMNS})"  # noqa: S608 - no value is in it
        f" VALUES (%s, %s, %s, {document}, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        parameters,
    )
    if cursor.rowcount == 1:
        return True
    cursor.execute(f"SELECT 1 FROM {table} WHERE id = %s", [values["id"]])  # noqa: S608 - likewise
    if cursor.fetchone() is None:
        raise refusal(job, RowsNotKept(frozenset(), frozenset([job.id])))
    return False


def _sqlite_time(moment: datetime | None) -> str | None:
    # As SQLAlchemy writes it, so that times compare.
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f") if moment else None
