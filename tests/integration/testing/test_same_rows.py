"""The doubles against the real: the same submissions have the same rows, field by field."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from labelmill.client import Client, DuplicateJob, JobError, NewJob
from labelmill.core.catalog import Catalog
from labelmill.core.job import SubmittedJob
from labelmill.core.result import Result
from labelmill.core.settings import EngineSettings
from labelmill.db.database import Database
from labelmill.engines.load import load_engine
from labelmill.testing import InlineWorker, InMemoryClient
from tests.support.waiting import wait_for
from tests.support.worker import Workers

MODELS = """
[models.scripted]
task = "text-classification"
checkpoint = "."
engine = "tests.support.engines:ScriptedEngine"
group_size = 5
"""

#: What each has for itself.
OWN = {"worker", "enqueued_at", "started_at", "finished_at"}

NOW = datetime.now(UTC)


def submit(client: Client, *, is_late: bool = False) -> list[str]:
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
    text("soon", id="soon", eta=datetime.now(UTC) + timedelta(seconds=1))
    text("much later", id="much-later", eta=NOW + timedelta(days=1))
    text("last", id="last", priority=9)
    text("", id="empty")
    text("x", id="line\nbreak")
    text("x", id="urgent", priority=10)
    text("x", id="many", top_k=0)
    text("x" * 300_000, id="large")
    client.submit_image("scripted", b"an image", id="image", image_name="scan.png")
    jobs = [NewJob(text=f"of a run {number}", id=f"run-{number}") for number in range(7)]
    made = client.submit_many("scripted", [*jobs, jobs[6], NewJob()], run="bulk", source="here")
    said = [(number, str(error)) for number, error in made.rejected]
    return [*refused, str((made.ids, made.duplicates, said))]


DONE = 20
"""How many of them have a row before tomorrow."""


@pytest.fixture
def double() -> Iterator[InMemoryClient]:
    with InMemoryClient() as client:
        yield client


def compared(row: Result) -> dict[str, object]:
    return {name: value for name, value in row._asdict().items() if name not in OWN}


def entry(job: SubmittedJob | None) -> dict[str, object]:
    assert job is not None
    own = {"enqueued_at", "eta"} if job.id == "soon" else {"enqueued_at"}
    return {name: value for name, value in job._asdict().items() if name not in own}


def test_the_doubles_give_the_rows_of_a_worker(workers: Workers, double: InMemoryClient) -> None:
    workers.configure(MODELS)
    catalog = Catalog.load(workers.folder / "models.toml")
    engine = load_engine(catalog["scripted"], EngineSettings())
    with workers.client() as client, Database.open(workers.database_url) as database:
        refused = submit(client)
        assert submit(double) == refused
        assert len(refused) == 7
        worker = workers.start()
        wait_for(lambda: sum(map(sum, database.results.counts().values())) == DONE)

        InlineWorker(double, {"scripted": engine}).run(at=NOW + timedelta(minutes=5))

        ids = list(double.database.jobs.get_many([*database_ids(database), "nonsense"]))
        assert len(ids) == DONE + 1
        real = database.results.get_many(ids)
        ours = double.database.results.get_many(ids)
        assert {each.worker for each in real.values()} == {worker.name}
        assert len(real) == DONE
        for job_id in ids:
            assert entry(double.database.jobs.get(job_id)) == entry(database.jobs.get(job_id))
            if job_id != "much-later":
                assert compared(ours[job_id]) == compared(real[job_id])
        assert set(ours) == set(real)
        assert double.progress("bulk") == client.progress("bulk")
        assert double.progress("none") is client.progress("none") is None


def database_ids(database: Database) -> list[str]:
    from sqlalchemy import select

    from labelmill.db.tables import jobs

    with database.engine.connect() as connection:
        return list(connection.execute(select(jobs.c.id)).scalars())
