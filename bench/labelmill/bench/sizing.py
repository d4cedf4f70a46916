"""Sizing: how fast one's own model is on one's own data, and in groups of which size."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from labelmill.bench import inputs, models
from labelmill.bench.facts import MODEL_PACKAGES, facts
from labelmill.bench.peers import BATCH, Answers, ImagePipeline, TextPipeline, agreement
from labelmill.bench.report import Curve, Measure, Report
from labelmill.bench.turns import Timed, take_turns, timed
from labelmill.core.catalog import ModelSpec
from labelmill.core.errors import ConfigurationError
from labelmill.core.job import Job
from labelmill.core.tasks import InputKind
from labelmill.engines import checkpoint
from labelmill.engines.load import AnyEngine, load_engine
from labelmill.worker.settings import WorkerSettings

_GROUP_SIZES = (16, 64, 128, 256, 512, 1024)
_WARM_UP = 256  # inputs
_GOOD_ENOUGH = 0.95  # of the best rate: a smaller group keeps its jobs for less time


@dataclass(frozen=True)
class Data:
    """What is labelled: texts or files of images, and the jobs that ask for it."""

    jobs: list[Job]
    texts: list[str]
    files: list[Path]
    described: str
    root: Path | None = None

    def first(self, number: int) -> Data:
        """The beginning of it."""
        return Data(
            self.jobs[:number], self.texts[:number], self.files[:number], self.described, self.root
        )


Side = Callable[[Data], Answers]


def read_data(spec: ModelSpec, path: Path | None, text_column: str, limit: int) -> Data:
    """The user's own inputs; without any, made-up texts.

    Raises:
        ConfigurationError: an image model without images.
        SourceError: they cannot be read.
    """
    if spec.task.reads is InputKind.IMAGE:
        if path is None:
            raise ConfigurationError("name a folder of images with --data")
        files = inputs.own_images(path, limit)
        root = path.resolve() if path.is_dir() else path.resolve().parent
        return Data(models.image_jobs(files), [], files, f"{len(files)} images of {path}", root)
    if path is None:
        texts, described = inputs.texts(limit), f"{limit} made-up texts"
    else:
        texts = inputs.own_texts(path, text_column, limit)
        described = f"{len(texts)} texts of {path}"
    return Data(models.text_jobs(texts), texts, [], described)


def measure(
    name: str, spec: ModelSpec, data: Data, repeats: int, log: Callable[[str], None]
) -> Report:
    """Hold the engine, in groups of each size, against the pipeline.

    Parameters:
        name: the model's alias.

    Raises:
        ConfigurationError: the model has an engine of its own.
        ModelLoadError: the checkpoint cannot be loaded.
        BenchmarkError: a job failed.
    """
    if spec.engine is not None:
        raise ConfigurationError(
            f"{name} has an engine of its own, which no pipeline can be held against"
        )
    engine = load_engine(spec, WorkerSettings(image_root=data.root))
    configured = min(engine.group_size, len(data.jobs))
    tried = {configured, *(size for size in _GROUP_SIZES if size <= len(data.jobs))}
    sizes = sorted(tried)
    peers = _peers(spec, data)
    sides = {**{str(size): _ours(engine, size) for size in sizes}, **peers}
    rates, agreed = _rates(sides, str(configured), data, repeats, log)
    medians = {size: statistics.median(rates[str(size)]) for size in sizes}
    best = suggested_group_size(medians)
    title, unit = f"{name}, groups of {configured}", "texts/s" if data.texts else "images/s"
    measures = [
        Measure(title, unit, peer, ours=rates[str(configured)], peer=rates[peer]) for peer in peers
    ]
    if data.texts:
        per_text = _tokens(spec, data.texts) / len(data.texts)
        measures.append(
            Measure(title, "tokens/s", ours=[per_text * r for r in rates[str(configured)]])
        )
    measures.append(Measure("the same label as the pipeline", "%", ours=agreed))
    return Report(
        f"bench of {name}",
        measures,
        {"checkpoint": spec.checkpoint, "repeats": repeats, "suggested_group_size": best},
        facts(*MODEL_PACKAGES) | {"device": engine.device, "threads": torch.get_num_threads()},
        notes=[
            f"{data.described}; rates by group size: "
            + ", ".join(f"{size}: {rate:,.0f}/s" for size, rate in medians.items()),
            f"suggested group_size: {best}, the smallest of these within 5 % of the fastest;"
            f" {configured} is set",
        ],
        curves=[
            Curve(f"{name} by group size", "jobs a group", unit, [*map(_point, medians.items())])
        ],
    )


def suggested_group_size(rates: dict[int, float]) -> int:
    """The smallest group whose rate is within 5 % of the best; ``rates`` is by group size."""
    enough = _GOOD_ENOUGH * max(rates.values())
    return min(size for size, rate in rates.items() if rate >= enough)


def _rates(
    sides: dict[str, Side], ours: str, data: Data, repeats: int, log: Callable[[str], None]
) -> tuple[dict[str, list[float]], list[float]]:
    """Inputs a second of each side, and how many labels of ``ours`` agree with the last one's."""
    for side in sides.values():
        side(data.first(_WARM_UP))
    peer = list(sides)[-1]
    rates: dict[str, list[float]] = {name: [] for name in sides}
    agreed = []
    actions = {name: _timed(side, data) for name, side in sides.items()}
    for number, taken in enumerate(take_turns(actions, repeats), 1):
        for name, found in taken.items():
            rates[name].append(len(data.jobs) / found.seconds)
        agreed.append(agreement(taken[ours].value, taken[peer].value))
        log(f"{number} of {repeats} repeats are done")
    return rates, agreed


def _timed(side: Side, data: Data) -> Callable[[], Timed[Answers]]:
    return lambda: timed(lambda: side(data))


def _ours(engine: AnyEngine, size: int) -> Side:
    return lambda data: models.run(engine, data.jobs, size)


def _peers(spec: ModelSpec, data: Data) -> dict[str, Side]:
    """The pipeline on the same device and in the same precision, in the ways that it is run."""
    device = checkpoint.choose_device(spec)
    options: dict[str, Any] = {
        "revision": spec.revision,
        "device": device,
        "dtype": checkpoint.choose_dtype(spec, device),
    }
    where = str(spec.folder or spec.checkpoint)
    if not data.texts:
        images = ImagePipeline(where, **options)
        return {f"pipeline, batches of {BATCH}": lambda data: images.batched(data.files)}
    texts = TextPipeline(where, **options)
    return {
        f"pipeline, batches of {BATCH}": lambda data: texts.batched(data.texts),
        "pipeline, one by one": lambda data: texts.one_by_one(data.texts),
        f"pipeline, sorted, batches of {BATCH}": lambda data: texts.sorted(data.texts),
    }


def _tokens(spec: ModelSpec, texts: list[str]) -> int:
    tokenizer = AutoTokenizer.from_pretrained(
        spec.folder or spec.checkpoint, revision=spec.revision
    )
    return models.token_count(tokenizer, texts)


def _point(pair: tuple[int, float]) -> tuple[float, float]:
    return float(pair[0]), pair[1]
