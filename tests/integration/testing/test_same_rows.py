"""The doubles against the real: the same submissions have the same rows, field by field."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from labelmill.client import Client, DuplicateJob, JobError, NewJob
from labelmill.core.catalog import Catalog
from labelmill.core.job import SubmittedJob
from labelmill.core.result import Result
from labelmill.core.settings import EngineSettings
from labelmill.db.database import Database
from labelmill.db.tables import jobs
from labelmill.engines.load import load_engine
from labelmill.testing import InlineWorker, InMemoryClient
from tests.support.waiting import wait_for
from tests.support.worker import Workers

#: What each has for itself.
OWN = {"worker", "enqueued_at", "started_at", "finished_at", "eta"}

NOW = datetime.now(UTC)
SOON = timedelta(seconds=1)


def submit(client: Client) -> list[str]:
    """A few dozen jobs of all kinds, refused ones too; what was refused, and as what."""
    refused: list[str] = []

    def text(words: str, **options: object) -> None:
        try:
            client.submit_text("scripted", words, **options)  # type: ignore[arg-type]
        except (JobError, DuplicateJob) as error:
            refused.append(f"{type(error).__name__}: {error}")

    text("hello", id="plain")
    text("again", id="plain")  # its first text stays
    text("with options", id="options", run="r", top_k=1, priority=3)
    text("company", id="company")
    text("company", id="company-again")
    text("raise", id="raises")
    text("raise-in-prepare", id="raises-in-prepare")
    text("nan", id="no-number")
    text("NUL \x00 and \ud800", id="odd \N{SNOWMAN}")
    text("late", id="expired", expires=NOW - timedelta(hours=1))
    text("due", id="due", eta=NOW - timedelta(hours=1), expires=NOW + timedelta(hours=1))
    text("much later", id="much-later", eta=NOW + timedelta(days=1))
    text("last", id="last", priority=9)
    text("", id="empty")
    text("x", id="line\nbreak")
    text("x", id="urgent", priority=10)
    text("x", id="many", top_k=0)
    text("x" * 300_000, id="large")
    client.submit_image("scripted", b"an image", id="image", image_name="scan.png")
    several = [NewJob(text=f"of a run {number}", id=f"run-{number}") for number in range(7)]
    given = [*several, several[6], NewJob()]
    made = client.submit_many("scripted", given, run="bulk", source="here")
    said = [(number, str(error)) for number, error in made.rejected]
    return [*refused, str((made.ids, made.duplicates, said))]


DONE = 20
"""How many of them have a row before tomorrow, with the one that :func:`submit_later` adds."""


def submit_later(client: Client) -> None:
    """A job that is put aside first; once the others have run, so that it has no company."""
    client.submit_text("scripted", "soon", id="soon", eta=datetime.now(UTC) + SOON)


@pytest.fixture
def double() -> Iterator[InMemoryClient]:
    with InMemoryClient() as client:
        yield client


def compared(record: Result | SubmittedJob) -> dict[str, object]:
    values = vars(record) if isinstance(record, Result) else record._asdict()
    return {name: value for name, value in values.items() if name not in OWN}


def test_the_doubles_give_the_rows_of_a_worker(workers: Workers, double: InMemoryClient) -> None:
    catalog = Catalog.load(workers.folder / "models.toml")
    inline = InlineWorker(double, {"scripted": load_engine(catalog["scripted"], EngineSettings())})
    with workers.client() as client, Database.open(workers.database_url) as database:

        def wait_for_rows(count: int) -> None:
            wait_for(lambda: sum(map(sum, database.results.counts().values())) == count)

        refused = submit(client)
        assert submit(double) == refused
        assert len(refused) == 7

        worker = workers.start()
        wait_for_rows(DONE - 1)
        assert len(inline.run()) == DONE - 1
        submit_later(client)
        wait_for_rows(DONE)
        submit_later(double)
        assert inline.run() == []
        assert len(inline.run(at=datetime.now(UTC) + SOON)) == 1

        real, ours = all_of(database), all_of(double.database)
        assert [compared(job) for job in ours[0]] == [compared(job) for job in real[0]]
        assert len(ours[0]) == DONE + 1
        assert [compared(row) for row in ours[1]] == [compared(row) for row in real[1]]
        assert {row.worker for row in real[1]} == {worker.name}
        assert {row.group_size for row in real[1]} >= {0, 1, 16}
        assert double.progress("bulk") == client.progress("bulk")
        assert double.progress("none") is client.progress("none") is None


def all_of(database: Database) -> tuple[list[SubmittedJob], list[Result]]:
    """The ledger, and the rows, in the order of their ids."""
    with database.engine.connect() as connection:
        ids = list(connection.execute(select(jobs.c.id).order_by(jobs.c.id)).scalars())
    ledger, rows = database.jobs.get_many(ids), database.results.get_many(ids)
    return list(ledger.values()), list(rows.values())
