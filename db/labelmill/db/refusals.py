"""Refusals: the jobs of a block that the ledger does not take, told one by one."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from labelmill.core.errors import DatabaseUnavailable, ErrorCode, JobError
from labelmill.core.job import SubmittedJob
from labelmill.core.text import redacted, storable_text, texts_in
from labelmill.db.errors import RowsNotKept, blames_rows, words_of

# So many jobs of a block, by chance, of which none is taken: that is the database's state.
_SAMPLE = 32


class AddedJobs(NamedTuple):
    """What became of a block.

    Attributes:
        added: the ids of the jobs that were new.
        refused: by id, why the database does not take a job.
    """

    added: set[str]
    refused: dict[str, JobError]


class AllJobsRefused(DatabaseUnavailable):
    """The database refuses every job alike; none was written."""


def refusal(job: SubmittedJob, error: BaseException) -> JobError:
    """The error of a job that the database refuses; it quotes nothing of the job's content."""
    words = redacted(words_of(error), texts_in(job.payload))
    return JobError(ErrorCode.UNSTORABLE, f"the database refused this job: {words}")


def add_each(
    add: Callable[[Sequence[SubmittedJob]], set[str]], jobs: Sequence[SubmittedJob]
) -> AddedJobs:
    """Add jobs; those that the database refuses for what they hold stop no others.

    Parameters:
        add: writes jobs in one transaction, and returns the ids of those that were new.

    Raises:
        AllJobsRefused: it refuses all of several.
    """
    done = AddedJobs(set(), {})
    _add_halves(add, jobs, done, len(jobs))
    return done


def _add_halves(
    add: Callable[[Sequence[SubmittedJob]], set[str]],
    jobs: Sequence[SubmittedJob],
    done: AddedJobs,
    total: int,
) -> None:
    try:
        done.added.update(add(jobs))
    except RowsNotKept as error:
        done.added.update(error.inserted)
        for job in jobs:
            if storable_text(job.id) in error.ids:
                done.refused[job.id] = refusal(job, error)
    except Exception as error:
        if not blames_rows(error):
            raise
        if len(jobs) > 1:
            if len(jobs) == total:
                # Those at fault often follow each other; what is looked at first is to be a sample.
                jobs = random.sample(jobs, len(jobs))
            half = len(jobs) // 2
            _add_halves(add, jobs[:half], done, total)
            _add_halves(add, jobs[half:], done, total)
            return
        done.refused[jobs[0].id] = refusal(jobs[0], error)
    if not done.added and total > 1 and len(done.refused) >= min(_SAMPLE, total):
        words = next(iter(done.refused.values())).message
        raise AllJobsRefused(f"the database takes no jobs at all now; of one it says: {words}")
