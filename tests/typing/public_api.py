"""What an app writes against the public API, for type checkers: it is read and never run."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import assert_type

from sqlalchemy.orm import Session

from labelmill import client as module
from labelmill.client import (
    Client,
    DuplicateJob,
    ErrorCode,
    JobError,
    LabelScore,
    NewJob,
    Result,
    ResultBackend,
    RunProgress,
    Status,
    Submitted,
    WaitTimeout,
)
from labelmill.core.catalog import Catalog, ModelSpec
from labelmill.core.job import Job
from labelmill.core.settings import BrokerSettings, DatabaseSettings
from labelmill.db.connection import create_database_engine
from labelmill.engines import Engine
from labelmill.testing import InlineWorker, InMemoryClient, StubEngine, check_engine
from labelmill.webhook import InvalidSignature, verify


def submit(client: Client, session: Session) -> None:
    assert_type(client.submit_text("topics", "a text", expires=timedelta(minutes=1)), str)
    assert_type(client.submit_image("digits", b"bytes", image_name="a.png"), str)
    assert_type(client.enqueue(session, "topics", text="a text"), str)
    submitted = client.submit_many("topics", [NewJob(text="a text", id="a")])
    assert_type(submitted, Submitted)
    progress: RunProgress | None = client.progress(submitted.run)
    assert progress is None or assert_type(progress.submitted, int)
    assert_type(submitted.rejected, "list[tuple[int, JobError]]")


def read(client: Client, job_id: str) -> str | None:
    try:
        result = client.wait(job_id, timeout=5)
    except WaitTimeout:
        return None
    except DuplicateJob as error:
        return error.job_id
    except JobError as error:
        assert_type(error.code, ErrorCode)
        return error.message
    assert_type(result, Result)
    assert_type(result.status, Status)
    assert_type(result.score, "float | None")
    assert_type(result.scores, "list[LabelScore] | None")
    assert_type(client.result(job_id), "Result | None")
    return result.label


class Shouting(Engine[str, str]):
    """An engine of one's own."""

    def prepare(self, jobs: Sequence[Job]) -> list[str | JobError]:
        return [str(job.text).upper() for job in jobs]

    def forward(self, inputs: Sequence[str]) -> list[str | JobError]:
        return list(inputs)

    def decode(
        self, outputs: Sequence[str], top_k: Sequence[int]
    ) -> list[list[LabelScore] | JobError]:
        return [[{"label": output, "score": 1.0}] for output in outputs]


def others(secret: str, headers: dict[str, str], body: bytes) -> None:
    with suppress(InvalidSignature):
        verify(secret, headers, body)
    catalog = Catalog.load(BrokerSettings().models_file)
    assert_type(catalog["topics"], ModelSpec)
    create_database_engine(DatabaseSettings().database_url).dispose()
    assert_type(ResultBackend, type[ResultBackend])


def tests(engine: Shouting) -> None:
    answers = {"Where is it?": "delivery"}
    with InMemoryClient() as client:
        submit(client, Session())
        topics = StubEngine(answers, default={"a": 0.5})
        worker = InlineWorker(client, {"topics": topics, "loud": engine})
        assert_type(worker.run(), "list[Result]")
    StubEngine(lambda job: job.text or JobError(ErrorCode.INVALID_JOB, "no text"))
    check_engine(engine, [Job(text="a")])


def misspelt() -> object:
    """It is told: an ignored error that is none would be told, too."""
    return module.Clinet  # type: ignore[attr-defined]
