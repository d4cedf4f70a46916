"""The text engine against ``transformers.pipeline``: texts in memory, to labels and scores.

Ours takes them in groups, as a worker does when many wait. The pipeline runs as most run it, in
batches of 32; and at its best here, which is the faster of one by one and of batches of 32 sorted
by length. In every repeat all labels and scores must be the same.

The limit is a bare forward pass over ready inputs of one length, which nothing that has to
tokenise, pad or pack can pass.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from labelmill.bench import checkpoints, inputs, models, vocabulary
from labelmill.bench.facts import MODEL_PACKAGES, facts
from labelmill.bench.limits import text_limit
from labelmill.bench.options import Log, Options
from labelmill.bench.peers import BATCH, Answers, TextPipeline, check_same
from labelmill.bench.report import Measure, Report
from labelmill.bench.tables import checkpoint_table
from labelmill.bench.turns import Timed, take_turns, timed


@dataclass(frozen=True)
class Case:
    """A model, how many texts it reads, and how much faster than the peer we want to be."""

    name: str
    save: Callable[[Path], Path]
    texts: int
    goal: float
    best_goal: float


_CASES = (
    Case("BERT tiny", checkpoints.tiny_bert, 2048, goal=3.5, best_goal=1.6),
    Case("DistilBERT", checkpoints.distilbert, 192, goal=3.0, best_goal=1.15),
)
_SMOKE_CASES = (Case("BERT tiny", checkpoints.tiny_bert, 96, goal=3.5, best_goal=1.6),)


def run(options: Options, log: Log) -> Report:
    """Measure each model."""
    report = Report(
        "texts",
        [],
        options.as_json(),
        facts(*MODEL_PACKAGES) | {"threads": torch.get_num_threads()},
    )
    for case in options.pick(_CASES, _SMOKE_CASES):
        if options.text_file:
            texts = inputs.own_texts(options.text_file, options.text_column, case.texts)
        else:
            texts = inputs.texts(case.texts)
        with tempfile.TemporaryDirectory(prefix="labelmill-bench-") as folder:
            report.measures += _measure(case, case.save(Path(folder)), texts, options, log)
    if not options.text_file:
        report.notes.append(
            f"texts are made up; lengths in tokens log-normal, mean {inputs.MEAN_TOKENS}, sigma"
            f" {inputs.SIGMA}, at most {vocabulary.MAX_LENGTH}; weights are random"
        )
    return report


def _measure(
    case: Case, folder: Path, texts: list[str], options: Options, log: Log
) -> list[Measure]:
    engine = models.load(
        checkpoint_table("text", folder, options.group_size, **options.text_settings)
    )
    pipeline = TextPipeline(folder, device="cpu")
    jobs = models.text_jobs(texts)
    tokens = models.token_count(vocabulary.tokenizer(), texts)
    limit = text_limit(folder, BATCH, max(8, tokens // len(texts)))

    sides: dict[str, Callable[[], Timed[Answers]]] = {
        "ours": lambda: timed(lambda: models.run(engine, jobs)),
        "batched": lambda: timed(lambda: pipeline.batched(texts)),
        "one by one": lambda: timed(lambda: pipeline.one_by_one(texts)),
        "sorted": lambda: timed(lambda: pipeline.sorted(texts)),
    }
    models.run(engine, jobs[:BATCH])
    pipeline.batched(texts[:BATCH])

    usual = Measure(case.name, "texts/s", f"pipeline, batches of {BATCH}", case.goal)
    best = Measure(case.name, "texts/s", "the pipeline at its best", case.best_goal)
    single = Measure(case.name, "texts/s", "pipeline, one by one")
    ordered = Measure(case.name, "texts/s", f"pipeline, sorted, batches of {BATCH}")
    bare = Measure(case.name, "tokens/s", "bare forward, one length")
    for number, taken in enumerate(take_turns(sides, options.repeats), 1):
        for name in ("batched", "one by one", "sorted"):
            check_same(taken["ours"].value, taken[name].value)
        rates = {name: len(texts) / each.seconds for name, each in taken.items()}
        usual.add(rates["ours"], rates["batched"])
        best.add(rates["ours"], max(rates["one by one"], rates["sorted"]))
        single.add(rates["ours"], rates["one by one"])
        ordered.add(rates["ours"], rates["sorted"])
        bare.add(tokens / taken["ours"].seconds, limit())
        shown = ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items())
        log(f"{case.name}, {number} of {options.repeats}, texts/s: {shown}")
    log(f"{case.name}: {tokens / len(texts):.1f} tokens a text")
    return [usual, best, single, ordered, bare]
