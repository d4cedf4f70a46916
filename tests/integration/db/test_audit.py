"""What the soak counts by: every change of a row is written down, and no other."""

from __future__ import annotations

from sqlalchemy import delete, update

from labelmill.db.database import Database
from labelmill.db.tables import jobs, results
from tests.support.audit import Audit
from tests.support.rows import a_job, a_result


def test_every_change_is_written_down(database_url: str, database: Database) -> None:
    audit = Audit(database_url)
    audit.begin()
    database.results.write([a_result("a"), a_result("b", error_code="poisoned")])
    database.results.write([a_result("a", worker="another")])  # has its row: nothing happens
    assert (audit.rows(), audit.outcomes()) == (2, {"a": None, "b": "poisoned"})
    database.jobs.add([a_job("a")])
    with database.engine.begin() as connection:
        connection.execute(update(results).values(worker="w2@host").where(results.c.id == "a"))
        connection.execute(update(jobs).values(priority=3))
        connection.execute(delete(results).where(results.c.id == "b"))
        connection.execute(delete(jobs))
    changes = audit.changes()
    assert [each[1:] for each in changes] == [
        ("results", "INSERT", "a", "w1@host"),
        ("results", "INSERT", "b", "w1@host"),
        ("results", "UPDATE", "a", "w2@host"),
        ("jobs", "UPDATE", "a", None),
        ("results", "DELETE", "b", "w1@host"),
        ("jobs", "DELETE", "a", None),
    ]
    assert set(audit.writers(0)) == {"w1@host", "w2@host"}
    assert audit.writers(changes[-1].at + 1) == {}
