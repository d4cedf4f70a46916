"""The whole worker against its own engine: what the way from Redis to committed rows costs.

The engine runs the same texts in memory, one group after the other. The worker, a process of its
own, gets them from Redis and writes their rows into SQLite; the clock is that of
:mod:`.queueing.trial`. It may be faster than 1×: it prepares one group while it runs another.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from labelmill.bench import checkpoints, inputs, models
from labelmill.bench.endtoend import end_to_end
from labelmill.bench.facts import MODEL_PACKAGES, QUEUE_PACKAGES, facts
from labelmill.bench.options import Log, Options
from labelmill.bench.queueing.trial import Load
from labelmill.bench.report import Measure, Report
from labelmill.bench.tables import checkpoint_table
from labelmill.bench.turns import take_turns, timed

_GOAL = 0.9
_FULL_TEXTS, _SMOKE_TEXTS = 384, 32
_WARM_UP_TEXTS = 32


def run(options: Options, log: Log) -> Report:
    """Measure a worker with a model of DistilBERT's size."""
    number = options.pick(_FULL_TEXTS, _SMOKE_TEXTS)
    save = options.pick(checkpoints.distilbert, checkpoints.tiny_bert)
    if options.text_file:
        texts = inputs.own_texts(options.text_file, options.text_column, number)
    else:
        texts = inputs.texts(number)
    warm_up = inputs.texts(_WARM_UP_TEXTS, seed=1)
    measure = Measure("DistilBERT, Redis to rows", "texts/s", "its engine alone", _GOAL)
    with (
        tempfile.TemporaryDirectory(prefix="labelmill-bench-") as folder,
        end_to_end() as ours,
    ):
        model = checkpoint_table(
            "text", save(Path(folder)), options.group_size, **options.text_settings
        )
        engine, jobs = models.load(model), models.text_jobs(texts)
        models.run(engine, models.text_jobs(warm_up))
        sides: dict[str, Callable[[], float]] = {
            "worker": lambda: ours.trial(model, Load(texts, warm_up)).rate,
            "engine": lambda: len(jobs) / timed(lambda: models.run(engine, jobs)).seconds,
        }
        for taken in take_turns(sides, options.repeats):
            measure.add(taken["worker"], taken["engine"])
            log(f"texts/s: worker {taken['worker']:.1f}, engine {taken['engine']:.1f}")
    return Report(
        "worker",
        [measure],
        options.as_json(),
        facts(*MODEL_PACKAGES, *QUEUE_PACKAGES) | {"threads": torch.get_num_threads()},
        notes=[f"{number} texts, rows into SQLite"],
    )
