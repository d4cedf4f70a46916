"""The steps of a group, from messages to rows: what the stages do, without threads and servers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from labelmill.core.errors import ErrorCode, JobError
from labelmill.core.ids import new_id
from labelmill.core.result import Result
from labelmill.core.scatter import scatter
from labelmill.core.states import Status
from labelmill.core.text import storable_text
from labelmill.db.errors import RowsNotKept, blames_rows, words_of
from labelmill.engines.bisect import run_bisecting
from labelmill.engines.dedupe import run_distinct
from labelmill.engines.faults import fault_of
from labelmill.engines.load import AnyEngine
from labelmill.worker.job import InFlightJob, Outcome

logger = logging.getLogger(__name__)


def refusal(
    job: InFlightJob,
    engine: AnyEngine,
    *,
    max_attempts: int,
    is_revoked: Callable[[str], bool],
) -> JobError | None:
    """Why this job is not run, if it is not."""
    read = job.message
    if job.lease.starts > max_attempts:
        return JobError(
            ErrorCode.POISONED,
            f"the worker died {max_attempts} times with this job in its hands; it is "
            "kept among the dead letters",
        )
    if read.error is not None:
        return read.error
    if is_revoked(read.id):
        return JobError(ErrorCode.REVOKED, "the job was revoked before it was started")
    if read.expires is not None and read.expires <= job.started_at:
        return JobError(ErrorCode.EXPIRED, "the job's time ran out before it was started")
    kind = engine.spec.task.reads
    if job.parsed.kind is not kind:
        return JobError(
            ErrorCode.WRONG_INPUT_KIND, f"this model reads one {kind}; send it as '{kind}'"
        )
    return None


def prepare(
    engine: AnyEngine, jobs: Sequence[InFlightJob]
) -> tuple[list[InFlightJob], list[InFlightJob]]:
    """Make the inputs of admitted jobs ready; returns those that are, and those that failed."""
    parsed = [job.parsed for job in jobs]
    step = partial(run_bisecting, engine.prepare)
    prepared: list[InFlightJob] = []
    failed: list[InFlightJob] = []
    answers = run_distinct(step, parsed, [job.content for job in parsed])
    for job, answer in zip(jobs, answers, strict=True):
        if isinstance(answer, JobError):
            job.output = answer
            failed.append(job)
        else:
            job.input = answer
            prepared.append(job)
    return prepared, failed


def forward(engine: AnyEngine, jobs: Sequence[InFlightJob]) -> None:
    """Run the model over prepared jobs: each has its output then, or an error for one."""
    outputs = run_distinct(
        partial(run_bisecting, engine.forward),
        [job.input for job in jobs],
        [_identity(job) for job in jobs],
    )
    for job, output in zip(jobs, outputs, strict=True):
        job.input, job.output, job.group_size = None, output, len(jobs)


def wait(engine: AnyEngine, jobs: Sequence[InFlightJob]) -> None:
    """Return once the device has finished the outputs of these jobs.

    Raises:
        Exception: the device answers nothing more. Any other error is left to :func:`decode`, which
            finds out whose it is.
    """
    pending = [job.output for job in jobs if not isinstance(job.output, JobError)]
    if not pending:
        return
    try:
        engine.wait(pending)
    except Exception as error:
        if fault_of(error).ends_worker:
            raise
        logger.warning("waiting for the device raised %s", type(error).__name__)


def decode(engine: AnyEngine, jobs: Sequence[InFlightJob]) -> list[Outcome]:
    """The labels of each job, or the error that ended it."""
    failed = [index for index, job in enumerate(jobs) if isinstance(job.output, JobError)]
    pending = [index for index, job in enumerate(jobs) if not isinstance(job.output, JobError)]
    decoded = run_bisecting(
        lambda chosen: engine.decode(
            [jobs[index].output for index in chosen],
            [jobs[index].parsed.options.top_k or engine.spec.top_k for index in chosen],
        ),
        pending,
    )
    errors: list[Outcome] = [jobs[index].output for index in failed]
    return scatter(len(jobs), [(failed, errors), (pending, decoded)])


def row(
    model: str,
    engine: AnyEngine,
    job: InFlightJob,
    outcome: Outcome,
    *,
    worker: str,
    finished_at: datetime,
) -> Result:
    """The row of a job that has ended."""
    error = outcome if isinstance(outcome, JobError) else None
    scores = outcome if isinstance(outcome, list) else None
    return Result(
        id=job.id,
        run_id=job.message.job.run if job.message.job else None,
        model=model,
        checkpoint=engine.spec.checkpoint,
        revision=engine.revision,
        status=Status.FAILED if error else Status.SUCCEEDED,
        label=scores[0]["label"] if scores else None,
        score=scores[0]["score"] if scores else None,
        scores=scores,
        error_code=error.code if error else None,
        error_message=error.message if error else None,
        attempt=job.lease.starts,
        group_size=job.group_size,
        worker=worker,
        enqueued_at=job.message.enqueued_at,
        started_at=job.started_at,
        finished_at=finished_at,
    )


@dataclass(frozen=True, slots=True)
class Written:
    """What became of rows that were to be written.

    Attributes:
        rows: those that are in the database now, as they were written.
        new: how many of them were new.
        refused: by id, the words of the database for rows that it does not take for what they hold.
            Instead of such a row there is one that says so, or none where that is refused as well.
    """

    rows: list[Result]
    new: int
    refused: dict[str, str]

    @property
    def rowless(self) -> dict[str, str]:
        """Of those that are refused, the ones that have no row at all."""
        there = {row.id for row in self.rows}
        return {id: words for id, words in self.refused.items() if id not in there}


class AllRefused(Exception):
    """The database refuses all rows alike, in these words: that is its state, no job's fault."""


def write(
    insert: Callable[[Sequence[Result]], int],
    rows: Sequence[Result],
    *,
    takes: Callable[[Result], bool] = lambda _: True,
    cleaned: Callable[[str, str], str] = lambda _id, words: words,
) -> Written:
    """Write rows.

    Where the database refuses a group for what a row of it holds, its halves are written, down to
    the rows at fault.

    A trigger or a constraint can just as well refuse every row there is, with the same SQLSTATE.
    So a row is blamed only where the database has taken another one after it refused the group: a
    row of the same group, one that nobody else could object to, or the one that says that this one
    was refused.

    Parameters:
        insert: writes rows in one transaction, and says how many were new.
        takes: whether the database takes a row now, without keeping it.
        cleaned: takes what is private of a job's out of the database's words.

    Raises:
        AllRefused: nothing was written.
    """
    parts = _Parts([], 0, [])
    _write_halves(insert, rows, parts)
    if parts.refused and not parts.new:
        row, error = parts.refused[0]
        words = cleaned(row.id, words_of(error))
        if not (takes(plain(row)) or takes(_refused(row, words))):
            raise AllRefused(words)
    refused: dict[str, str] = {}
    for row, _ in parts.refused:
        # Once more, after that: the database may have been mended since it refused this one.
        again = _write_one(insert, row, parts)
        if again is not None:
            refused[row.id] = words = cleaned(row.id, words_of(again))
            _write_one(insert, _refused(row, words), parts)
    return Written(parts.written, parts.new, refused)


@dataclass(slots=True)
class _Parts:
    written: list[Result]
    new: int
    refused: list[tuple[Result, Exception]]


def _write_halves(
    insert: Callable[[Sequence[Result]], int], rows: Sequence[Result], parts: _Parts
) -> None:
    try:
        parts.new += insert(rows)
        parts.written += rows
    except RowsNotKept as error:
        parts.new += len(error.inserted)
        parts.written += [row for row in rows if storable_text(row.id) not in error.ids]
        parts.refused += [(row, error) for row in rows if storable_text(row.id) in error.ids]
    except Exception as error:
        if not blames_rows(error):
            raise
        if len(rows) == 1:
            parts.refused.append((rows[0], error))
            return
        half = len(rows) // 2
        _write_halves(insert, rows[:half], parts)
        _write_halves(insert, rows[half:], parts)


def _write_one(
    insert: Callable[[Sequence[Result]], int], row: Result, parts: _Parts
) -> Exception | None:
    """Returns why the database refuses it."""
    try:
        parts.new += insert([row])
    except Exception as error:
        if not blames_rows(error):
            raise
        return error
    parts.written.append(row)
    return None


def _identity(job: InFlightJob) -> Hashable:
    """Equal for equal inputs; the file of an image may have changed since it was last read."""
    return job.parsed.text if job.parsed.text is not None else id(job.input)


def _refused(row: Result, words: str) -> Result:
    return replace(
        _without_labels(row), error_message=f"the database refused this job's row: {words}"
    )


def plain(row: Result) -> Result:
    """A row of the same worker and model with nothing of the job's in it."""
    return replace(_without_labels(row), id=f"probe-{new_id()}", run_id=None, error_message="")


def _without_labels(row: Result) -> Result:
    return replace(
        row,
        status=Status.FAILED,
        label=None,
        score=None,
        scores=None,
        error_code=ErrorCode.UNSTORABLE,
    )
