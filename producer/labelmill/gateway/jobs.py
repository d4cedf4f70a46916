"""Jobs as the API shows them: a row of the ledger, a row of results, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from labelmill.core.errors import BrokerUnavailable
from labelmill.core.job import SubmittedJob
from labelmill.core.json import JsonValue
from labelmill.core.result import Result
from labelmill.core.states import JobState, Status
from labelmill.db.database import Database
from labelmill.gateway.executors import Executor
from labelmill.gateway.queues import Queues
from labelmill.gateway.schemas import Fault, ImageInput, Inline, JobOut, Outcome, TextInput, Uri
from labelmill.media.uploads import is_upload


def job_url(job_id: str) -> str:
    """Where a job is found."""
    return f"/v1/jobs/{quote(job_id, safe='')}"


def run_url(run: str) -> str:
    """Where a run is found."""
    return f"/v1/runs/{quote(run, safe='')}"


class JobFinder:
    """Looks jobs up.

    Every method:

    Raises:
        DatabaseUnavailable: the database is away.
    """

    def __init__(self, database: Database, executor: Executor, queues: Queues) -> None:
        self._database = database
        self._executor = executor
        self._queues = queues

    async def find(self, job_id: str) -> JobOut | None:
        """The job of that id, or None."""
        result, job = await self._executor.run(self._rows, job_id)
        if result is not None:
            return finished_job(result, job)
        if job is None:
            return None
        return unfinished_job(job, running=await self._is_running(job))

    async def of_results(self, results: Sequence[Result]) -> list[JobOut]:
        """The jobs of these rows."""
        if not results:
            return []
        known = await self._executor.run(
            self._database.jobs.get_many, [each.id for each in results]
        )
        return [finished_job(each, known.get(each.id)) for each in results]

    async def with_results(self, ids: Sequence[str]) -> dict[str, JobOut]:
        """Those of these jobs that have their rows."""
        rows = await self._executor.run(self._database.results.get_many, ids)
        return {job.id: job for job in await self.of_results(list(rows.values()))}

    async def payload(self, job_id: str) -> Mapping[str, JsonValue] | None:
        """What a job of the ledger asks for."""
        job = await self._executor.run(self._database.jobs.get, job_id)
        return job.payload if job is not None else None

    def _rows(self, job_id: str) -> tuple[Result | None, SubmittedJob | None]:
        # The ledger first: a row that comes in between is found.
        job = self._database.jobs.get(job_id)
        return self._database.results.get(job_id), job

    async def _is_running(self, job: SubmittedJob) -> bool:
        try:
            return job.id in await self._queues.running(job.model)
        except BrokerUnavailable:
            # It is known to the ledger, and nobody can say more.
            return False


def finished_job(result: Result, job: SubmittedJob | None) -> JobOut:
    """A job that has its row; the ledger does not have those of a bare ``send_task``."""
    succeeded = result.status is Status.SUCCEEDED
    return JobOut(
        id=result.id,
        model=result.model,
        run=result.run_id,
        state=JobState(result.status),
        input=_input(job),
        thumbnail=_thumbnail(job),
        enqueued_at=result.enqueued_at or (job.enqueued_at if job else None),
        started_at=result.started_at,
        finished_at=result.finished_at,
        result=_outcome(result) if succeeded else None,
        error=None
        if succeeded
        else Fault(code=result.error_code or "unknown", message=result.error_message),
    )


def unfinished_job(job: SubmittedJob, *, running: bool) -> JobOut:
    """A job of the ledger that has no row yet."""
    return JobOut(
        id=job.id,
        model=job.model,
        run=job.run_id,
        state=JobState.RUNNING if running else JobState.QUEUED,
        input=_input(job),
        thumbnail=_thumbnail(job),
        enqueued_at=job.enqueued_at,
        started_at=None,
        finished_at=None,
        result=None,
        error=None,
    )


def has_thumbnail(payload: Mapping[str, JsonValue]) -> bool:
    """Whether the gateway has the image itself."""
    image = payload.get("image")
    if not isinstance(image, dict):
        return False
    uri = image.get("uri")
    return "base64" in image or (isinstance(uri, str) and is_upload(uri))


def _outcome(result: Result) -> Outcome:
    return Outcome.model_validate({**vars(result), "scores": result.scores or []})


def _input(job: SubmittedJob | None) -> TextInput | ImageInput | None:
    payload = job.payload if job is not None else {}
    text, image = payload.get("text"), payload.get("image")
    if isinstance(text, str):
        return TextInput(text=text)
    if not isinstance(image, dict):
        return None
    uri, name = image.get("uri"), image.get("name")
    name = name if isinstance(name, str) else None
    return ImageInput(image=Uri(uri=uri, name=name) if isinstance(uri, str) else Inline(name=name))


def _thumbnail(job: SubmittedJob | None) -> str | None:
    if job is None or not has_thumbnail(job.payload):
        return None
    return f"{job_url(job.id)}/thumbnail"
