"""What is measured on a device by :mod:`labelmill.bench.gpu`."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from labelmill.bench import inputs, models, vocabulary
from labelmill.bench.endtoend import end_to_end
from labelmill.bench.errors import BenchmarkError
from labelmill.bench.limits import image_limit, text_limit
from labelmill.bench.options import Log
from labelmill.bench.peers import BATCH, TextPipeline, agreement, largest_difference
from labelmill.bench.queueing.trial import Load
from labelmill.bench.queueing.watch import Watch
from labelmill.bench.report import Measure
from labelmill.bench.tables import ModelTable, checkpoint_table
from labelmill.bench.turns import take_turns, timed
from labelmill.bench.utilisation import Utilisation
from labelmill.engines.bisect import run_bisecting
from labelmill.engines.load import AnyEngine

_LIMIT_BATCH, _LIMIT_LENGTH = 256, 64
_ROUNDS = 8  # of the texts through the worker, or a GPU is done before it can be asked
_PAUSE_S = 0.02
_MIB = 2**20


@dataclass(frozen=True)
class Device:
    """Where and how it is measured."""

    name: str
    dtype: str
    group_size: int
    token_budget: int | None
    repeats: int
    log: Log

    @property
    def is_cuda(self) -> bool:
        """Whether it is a GPU."""
        return self.name.startswith("cuda")

    def table(self, task: str, checkpoint: Path) -> ModelTable:
        """The model's entry in ``models.toml``."""
        settings: dict[str, str | int] = {"device": self.name, "dtype": self.dtype}
        if self.token_budget is not None:
            settings["token_budget"] = self.token_budget
        return checkpoint_table(task, checkpoint, self.group_size, **settings)

    def pipeline(self, checkpoint: Path) -> TextPipeline:
        """The peer here."""
        return TextPipeline(checkpoint, device=self.name, dtype=getattr(torch, self.dtype))


def text_engine(on: Device, title: str, checkpoint: Path, texts: list[str]) -> list[Measure]:
    """Tokens a second against the limit, and texts a second against the pipeline."""
    engine = models.load(on.table("text", checkpoint))
    pipeline = on.pipeline(checkpoint)
    jobs = models.text_jobs(texts)
    tokens = models.token_count(vocabulary.tokenizer(), texts)
    limit = text_limit(checkpoint, _LIMIT_BATCH, _LIMIT_LENGTH, on.name, on.dtype)
    prepared = [models.all_done(engine.prepare(g)) for g in models.groups(jobs, on.group_size)]
    sides = {
        "forward": lambda: _seconds_of_forward(engine, prepared),
        "ours": lambda: timed(lambda: models.run_overlapped(engine, jobs)).seconds,
        "pipeline": lambda: timed(lambda: pipeline.batched(texts)).seconds,
    }
    models.run(engine, jobs)
    pipeline.batched(texts[:BATCH])
    alone = Measure(f"{title}, forward", "tokens/s", "bare forward, one length", 0.85)
    whole = Measure(f"{title}, all steps", "tokens/s", "bare forward, one length")
    usual = Measure(f"{title}, all steps", "texts/s", f"pipeline, batches of {BATCH}", 3.0)
    for taken in take_turns(sides, on.repeats):
        bare = limit()
        alone.add(tokens / taken["forward"], bare)
        whole.add(tokens / taken["ours"], bare)
        usual.add(len(texts) / taken["ours"], len(texts) / taken["pipeline"])
        on.log(f"{title}: {tokens / taken['forward']:,.0f} tokens/s of {bare:,.0f}")
    return [alone, whole, usual]


def vit_engine(on: Device, title: str, checkpoint: Path, files: list[Path]) -> list[Measure]:
    """Images a second from files, against the limit."""
    engine = models.load(on.table("image", checkpoint), files[0].parent)
    jobs = models.image_jobs(files)
    limit = image_limit(checkpoint, min(_LIMIT_BATCH, len(files)), on.name, on.dtype)
    models.run(engine, jobs[: on.group_size])
    measure = Measure(f"{title}, files to labels", "images/s", "bare forward", 0.8)
    for _ in range(on.repeats):
        seconds = timed(lambda: models.run_overlapped(engine, jobs)).seconds
        measure.add(len(files) / seconds, limit())
    return [measure]


def parity(on: Device, checkpoint: Path, texts: list[str], notes: list[str]) -> None:
    """Packed against padded, in single precision and in that of the device."""
    for dtype in ("float32", on.dtype):
        here = replace(on, dtype=dtype)
        ours = models.run(models.load(here.table("text", checkpoint)), models.text_jobs(texts))
        theirs = here.pipeline(checkpoint).batched(texts)
        notes.append(
            f"packed against padded, {dtype}: {agreement(ours, theirs):.1f} % of the labels are the"
            f" same, scores differ by at most {largest_difference(ours, theirs):.1e}"
        )


def too_little_memory(on: Device, checkpoint: Path, texts: list[str], notes: list[str]) -> None:
    """Take memory away until the device runs out of it, and see that all jobs are answered.

    Raises:
        BenchmarkError: a job failed for it, or it never ran out.
    """
    if not on.is_cuda:
        notes.append("too little memory: not tried, there is no GPU")
        return
    # It warns of each halving.
    logging.getLogger("labelmill.engines.bisect").setLevel(logging.ERROR)
    # One pass for all, so that there is something to halve.
    everything = replace(on, token_budget=vocabulary.MAX_LENGTH * len(texts))
    engine = models.load(everything.table("text", checkpoint))
    prepared = models.all_done(engine.prepare(models.text_jobs(texts)))
    _, total = torch.cuda.mem_get_info(on.name)
    spare = 512 * _MIB
    try:
        while spare >= _MIB:
            torch.cuda.empty_cache()
            allowed = torch.cuda.memory_reserved(on.name) + spare
            torch.cuda.set_per_process_memory_fraction(allowed / total, on.name)
            before = _out_of_memory_count(on)
            answers = run_bisecting(engine.forward, prepared)
            if (times := _out_of_memory_count(on) - before) > 0:
                models.all_done(answers)
                notes.append(
                    f"too little memory: with {spare // _MIB} MiB to spare the device ran out of it"
                    f" {times} times, and all {len(texts)} texts were answered"
                )
                return
            spare //= 2
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, on.name)
    raise BenchmarkError("the device never ran out of memory; give it more texts")


def whole_worker(
    on: Device, title: str, checkpoint: Path, texts: list[str], notes: list[str]
) -> list[Measure]:
    """Redis to rows, against the engine; the device's utilisation goes into the notes."""
    model = on.table("text", checkpoint)
    engine, jobs = models.load(model), models.text_jobs(texts)
    warm_up = inputs.texts(min(len(texts), 2 * on.group_size), seed=1)
    measure = Measure(f"{title}, Redis to rows", "texts/s", "its engine alone", 0.9)
    models.run(engine, models.text_jobs(warm_up))
    busy: list[float] = []

    def look(watch: Watch, _: object) -> None:
        with Utilisation() as utilisation:
            while watch.waiting():
                time.sleep(_PAUSE_S)
        busy.extend(utilisation.samples)

    with end_to_end() as ours:
        load = Load(texts * _ROUNDS, warm_up)
        sides = {
            "engine": lambda: len(texts) / timed(lambda: models.run(engine, jobs)).seconds,
            "worker": lambda: ours.trial(model, load, during=look).rate,
        }
        for taken in take_turns(sides, on.repeats):
            measure.add(taken["worker"], taken["engine"])
    notes.append(
        f"while a worker had jobs, the device was busy {statistics.fmean(busy):.0f} % of the time"
        if busy
        else "utilisation: no GPU that could be asked"
    )
    return [measure]


def _seconds_of_forward(engine: AnyEngine, prepared: Sequence[list[Any]]) -> float:
    def run() -> None:
        for group in prepared:
            outputs = models.all_done(engine.forward(group))
        outputs[-1].cpu()  # the device answers in order: it has done all before this one

    return timed(run).seconds


def _out_of_memory_count(on: Device) -> int:
    return int(torch.cuda.memory_stats(on.name).get("num_ooms", 0))
