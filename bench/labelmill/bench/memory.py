"""Memory: whether a worker grows while it does its work.

The resident memory of a worker over 200,000 texts, with a real but very small model, so that it
takes minutes. Growth is counted from when a fifth of the jobs is done, when all is warm.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from labelmill.bench import checkpoints, inputs
from labelmill.bench.endtoend import end_to_end
from labelmill.bench.facts import MODEL_PACKAGES, QUEUE_PACKAGES, facts
from labelmill.bench.options import Log, Options
from labelmill.bench.queueing.process import WorkerProcess
from labelmill.bench.queueing.trial import Load
from labelmill.bench.queueing.watch import Watch
from labelmill.bench.report import Curve, Measure, Report
from labelmill.bench.tables import checkpoint_table

_FULL_JOBS, _SMOKE_JOBS = 200_000, 2_000
_DIFFERENT_TEXTS = 20_000
_TOKENS = 12
_PAUSE_S = 0.25
_MIB = 2**20


def run(options: Options, log: Log) -> Report:
    """Watch one worker."""
    jobs = options.pick(_FULL_JOBS, _SMOKE_JOBS)
    different = inputs.texts(min(jobs, _DIFFERENT_TEXTS), mean=_TOKENS, longest=4 * _TOKENS)
    texts = [
        f"{text} {number}" for number in range(-(-jobs // len(different))) for text in different
    ]
    points: list[tuple[float, float]] = []

    def look(watch: Watch, workers: Sequence[WorkerProcess]) -> None:
        while left := watch.waiting():
            workers[0].check()
            points.append((float(jobs - left), workers[0].memory() / _MIB))
            time.sleep(_PAUSE_S)
        points.append((float(jobs), workers[0].memory() / _MIB))

    with (
        tempfile.TemporaryDirectory(prefix="labelmill-bench-") as folder,
        end_to_end() as ours,
    ):
        checkpoint = checkpoints.tiny_bert(
            Path(folder), hidden_size=32, num_hidden_layers=1, intermediate_size=64
        )
        model = checkpoint_table("text", checkpoint, options.group_size, **options.text_settings)
        figures = ours.trial(model, Load(texts[:jobs], inputs.texts(500, seed=1)), during=look)
    log(f"{jobs:,} jobs, {figures.rate:,.0f}/s")
    grown, last = growth(points), points[-1][1]
    memory = Measure("resident memory at the end", "MiB")
    memory.add(last)
    growing = Measure("growth over the last four fifths", "MiB")
    growing.add(grown)
    return Report(
        "memory",
        [memory, growing],
        {**options.as_json(), "jobs": jobs},
        facts(*MODEL_PACKAGES, *QUEUE_PACKAGES) | {"threads": torch.get_num_threads()},
        notes=[
            f"{jobs:,} jobs at {figures.rate:,.0f}/s; from a fifth of them to the end the worker"
            f" grew by {grown:+.1f} MiB, {100 * grown / (last - grown):+.1f} %"
        ],
        curves=[Curve("A worker's resident memory", "jobs done", "MiB", points)],
    )


def growth(points: Sequence[tuple[float, float]]) -> float:
    """By how much a curve rises from the first point at a fifth of its way to its end."""
    fifth = points[-1][0] / 5
    start = next(y for x, y in points if x >= fifth)
    return points[-1][1] - start
