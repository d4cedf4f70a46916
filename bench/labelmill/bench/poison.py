"""Poison: what one job that makes the model raise costs those around it.

Among 1,024 texts one has a token that the model has no embedding for. Its group raises, and is run
again in parts until the job is found. Measured are the engine alone, its steps called through
:func:`labelmill.engines.bisect.run_bisecting` as the worker calls them, and the whole worker.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from labelmill.bench import checkpoints, inputs, models
from labelmill.bench.endtoend import end_to_end
from labelmill.bench.errors import BenchmarkError
from labelmill.bench.facts import MODEL_PACKAGES, facts
from labelmill.bench.options import Log, Options
from labelmill.bench.queueing.trial import Load
from labelmill.bench.report import Measure, Report
from labelmill.bench.tables import checkpoint_table
from labelmill.bench.turns import take_turns, timed
from labelmill.core.errors import ErrorCode, JobError
from labelmill.core.job import Job
from labelmill.engines.bisect import run_bisecting
from labelmill.engines.load import AnyEngine

_GOAL = 0.95
_FULL_TEXTS, _SMOKE_TEXTS = 1024, 64
_FULL_ROUNDS, _SMOKE_ROUNDS = 6, 1  # the texts of one would be done in less than a second
_WARM_UP_TEXTS = 64


def run(options: Options, log: Log) -> Report:
    """Measure with and without the bad job."""
    number = options.pick(_FULL_TEXTS, _SMOKE_TEXTS)
    rounds = options.pick(_FULL_ROUNDS, _SMOKE_ROUNDS)
    texts = inputs.texts(rounds * number)
    poisoned = [*texts]
    for middle in range(number // 2, len(texts), number):
        poisoned[middle] = f"{texts[middle]} {checkpoints.POISON}"
    warm_up = inputs.texts(_WARM_UP_TEXTS, seed=1)
    code = str(ErrorCode.MODEL_FAILED)
    codes = [code] * rounds
    alone = Measure("one bad job, the engine", "texts/s", "no bad job", _GOAL)
    whole = Measure("one bad job, the worker", "texts/s", "no bad job", _GOAL)
    # It warns of each halving.
    logging.getLogger("labelmill.engines.bisect").setLevel(logging.ERROR)
    with (
        tempfile.TemporaryDirectory(prefix="labelmill-bench-") as folder,
        end_to_end() as ours,
    ):
        checkpoint = checkpoints.poisonable_bert(Path(folder))
        model = checkpoint_table("text", checkpoint, options.group_size, **options.text_settings)
        engine = models.load(model)
        good, bad = models.text_jobs(texts), models.text_jobs(poisoned)
        _engine_seconds(engine, models.text_jobs(warm_up), [])
        sides: dict[str, Callable[[], float]] = {
            "worker": lambda: ours.trial(model, Load(texts, warm_up)).rate,
            "worker, poisoned": lambda: (
                ours.trial(model, Load(poisoned, warm_up, failures=codes)).rate
            ),
        }
        for taken in take_turns(sides, options.repeats):
            clean, poisoned_too = _engine_rates(engine, good, bad, number, code)
            alone.add(poisoned_too, clean)
            whole.add(taken["worker, poisoned"], taken["worker"])
            rates = {"engine": clean, "engine, poisoned": poisoned_too, **taken}
            log("texts/s: " + ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items()))
    return Report(
        "poison",
        [alone, whole],
        options.as_json(),
        facts(*MODEL_PACKAGES) | {"threads": torch.get_num_threads()},
        notes=[
            f"of each {number} jobs {number - 1} succeeded and 1 failed with {code}, in all;"
            f" BERT tiny, groups of {options.group_size}"
        ],
    )


def _engine_rates(
    engine: AnyEngine, good: Sequence[Job], bad: Sequence[Job], number: int, code: str
) -> tuple[float, float]:
    """Jobs a second, of the good ones and of those with a bad one among each ``number``.

    They take turns, so that what else the machine does meets both alike.
    """
    seconds = [0.0, 0.0]
    for start in range(0, len(good), number):
        part = slice(start, start + number)
        turns: list[tuple[int, Sequence[Job], list[str]]] = [
            (0, good[part], []),
            (1, bad[part], [code]),
        ]
        for side, jobs, failures in turns if start // number % 2 else reversed(turns):
            seconds[side] += _engine_seconds(engine, jobs, failures)
    return len(good) / seconds[0], len(bad) / seconds[1]


def _engine_seconds(engine: AnyEngine, jobs: Sequence[Job], failures: Sequence[str]) -> float:
    """How long the three steps take.

    Raises:
        BenchmarkError: others fail than should.
    """
    taken = timed(lambda: [_failed(engine, group) for group in _groups(engine, jobs)])
    failed = [code for group in taken.value for code in group]
    if failed != list(failures):
        raise BenchmarkError(f"these jobs should fail: {failures}, and these did: {failed}")
    return taken.seconds


def _groups(engine: AnyEngine, jobs: Sequence[Job]) -> list[Sequence[Job]]:
    return list(models.groups(jobs, engine.group_size))


def _failed(engine: AnyEngine, group: Sequence[Job]) -> list[str]:
    """Run one group as the stages do; the codes of those that failed."""
    outputs = run_bisecting(engine.forward, run_bisecting(engine.prepare, group))
    done = [output for output in outputs if not isinstance(output, JobError)]
    run_bisecting(lambda some: engine.decode(some, [1] * len(some)), done)
    return [str(output.code) for output in outputs if isinstance(output, JobError)]
