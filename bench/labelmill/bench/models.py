"""Models: an engine as a worker loads it, and running it over jobs in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

from labelmill.bench.errors import BenchmarkError
from labelmill.bench.peers import Answers
from labelmill.bench.tables import ModelTable
from labelmill.core.catalog import ModelSpec
from labelmill.core.errors import JobError
from labelmill.core.job import Job, parse_job
from labelmill.engines.load import AnyEngine, load_engine
from labelmill.worker.settings import WorkerSettings

T = TypeVar("T")

_ALL = 1000  # more labels than any checkpoint here has


def load(model: ModelTable, image_root: Path | None = None) -> AnyEngine:
    """The engine of a table, as a worker would load it."""
    return load_engine(ModelSpec.model_validate(model), WorkerSettings(image_root=image_root))


def text_jobs(texts: Iterable[str]) -> list[Job]:
    """Jobs as a worker reads them."""
    return [parse_job({"text": text}) for text in texts]


def image_jobs(files: Iterable[Path]) -> list[Job]:
    """Jobs with references to files."""
    return [parse_job({"image": {"uri": str(file)}}) for file in files]


def run(engine: AnyEngine, jobs: Sequence[Job], group_size: int | None = None) -> Answers:
    """All three steps over the jobs, in groups as a worker forms them when many wait.

    Raises:
        BenchmarkError: a job failed.
    """
    answers: Answers = []
    for group in groups(jobs, group_size or engine.group_size):
        inputs = engine.prepare(group)
        outputs = engine.forward(all_done(inputs))
        engine.wait(all_done(outputs))
        answers += all_done(engine.decode(all_done(outputs), [_ALL] * len(group)))
    return answers


def run_overlapped(engine: AnyEngine, jobs: Sequence[Job]) -> Answers:
    """As :func:`run`, with each step in a thread of its own, as in a worker."""
    with ThreadPoolExecutor(1) as preparing, ThreadPoolExecutor(1) as decoding:
        chunks = groups(jobs, engine.group_size)
        prepared = [preparing.submit(engine.prepare, group) for group in chunks]
        decoded = []
        for each in prepared:
            outputs = all_done(engine.forward(all_done(each.result())))
            decoded.append(decoding.submit(engine.decode, outputs, [_ALL] * len(outputs)))
        return [answer for each in decoded for answer in all_done(each.result())]


def groups(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in groups of at most that size."""
    return (items[start : start + size] for start in range(0, len(items), size))


def all_done(answers: Sequence[T | JobError]) -> list[T]:
    """The answers, of which none may be an error.

    Raises:
        BenchmarkError: one is.
    """
    for answer in answers:
        if isinstance(answer, JobError):
            raise BenchmarkError(f"a job failed: {answer}")
    return cast("list[T]", list(answers))


def token_count(tokenizer: Any, texts: Sequence[str]) -> int:
    """How many tokens the texts have together, truncated as for the model."""
    return sum(token_counts(tokenizer, texts))


def token_counts(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """How many tokens each text has, truncated as for the model."""
    encoded = tokenizer(list(texts), truncation=True)
    return [len(ids) for ids in encoded["input_ids"]]
