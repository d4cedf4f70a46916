"""The image engine against ``transformers``: the same files, to tensors and to labels.

=================  =============================================================================
a core's work      from the file to what the model takes, all on one core: the engine's
                   ``prepare`` against Pillow and the checkpoint's own processor, one image after
                   the other. In processor time, which others at work disturb least
the engine         from files to labels: all three steps against the pipeline in batches of 32,
                   which loads its images in this process, or in two more; and against a bare
                   forward pass over ready inputs, which nothing that has to decode can pass
=================  =============================================================================
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from transformers import AutoImageProcessor

from labelmill.bench import checkpoints, inputs, models
from labelmill.bench.cores import one_core
from labelmill.bench.facts import MODEL_PACKAGES, facts
from labelmill.bench.limits import image_limit
from labelmill.bench.options import Log, Options
from labelmill.bench.peers import BATCH, Answers, ImagePipeline, agreement, largest_difference
from labelmill.bench.report import Measure, Report
from labelmill.bench.tables import checkpoint_table
from labelmill.bench.turns import Timed, take_turns, timed
from labelmill.engines.load import AnyEngine

_LOADERS = 2  # processes of the pipeline's


@dataclass(frozen=True)
class Sizes:
    """How many images of which size (width, height); the goal of a core's work."""

    prepared: tuple[tuple[tuple[int, int], int, float | None], ...]
    labelled: int


@dataclass(frozen=True)
class Case:
    """A model, what part of the images it labels, and how much faster we want to be."""

    name: str
    save: Callable[[Path], Path]
    part: float
    goal: float | None


_FULL = Sizes(prepared=(((500, 375), 256, 4.0), ((2000, 1500), 32, None)), labelled=1024)
_SMOKE = Sizes(prepared=(((500, 375), 8, 4.0),), labelled=8)
_CASES = (
    Case("ViT tiny", checkpoints.tiny_vit, 1.0, 1.6),
    Case("ViT-Ti/16", checkpoints.vit_ti, 0.25, None),
)


def run(options: Options, log: Log) -> Report:
    """Measure a core's work, and the engine."""
    sizes = options.pick(_FULL, _SMOKE)
    report = Report(
        "images",
        [],
        options.as_json(),
        facts(*MODEL_PACKAGES, "simplejpeg", "torchvision") | {"threads": torch.get_num_threads()},
    )
    with tempfile.TemporaryDirectory(prefix="labelmill-bench-") as name:
        folder = Path(name)
        if options.image_folder:
            files = inputs.own_images(options.image_folder, sizes.labelled)
            root = options.image_folder
            sets = [("own images", files[: sizes.prepared[0][1]], sizes.prepared[0][2])]
        else:
            root = folder / "images"
            files = inputs.photographs(root, sizes.labelled, (500, 375))
            sets = [
                (f"{size[0]}×{size[1]}", inputs.photographs(root / "sized", number, size), goal)
                for size, number, goal in sizes.prepared
            ]
        for case in options.pick(_CASES, _CASES[:1]):
            checkpoint = case.save(folder / case.name.replace("/", "-"))
            engine = models.load(checkpoint_table("image", checkpoint, options.group_size), root)
            if case is _CASES[0]:
                for title, some, goal in sets:
                    measure = _core(title, engine, checkpoint, some, goal, options, log)
                    report.measures.append(measure)
            some = files[: max(BATCH, round(case.part * len(files)))]
            report.measures += _engine(case, engine, checkpoint, some, options, log, report.notes)
        kilobytes = sum(file.stat().st_size for file in files) / len(files) / 1000
        report.notes.append(f"files of {kilobytes:.0f} kB on average; weights are random")
    return report


def _core(
    title: str,
    engine: AnyEngine,
    checkpoint: Path,
    files: Sequence[Path],
    goal: float | None,
    options: Options,
    log: Log,
) -> Measure:
    """Images that one core makes ready in a second."""
    processor: Any = AutoImageProcessor.from_pretrained(checkpoint)
    jobs = models.image_jobs(files)

    def ours() -> None:
        for group in models.groups(jobs, BATCH):
            engine.prepare(group)

    def theirs(files: Sequence[Path] = files) -> None:
        for file in files:
            image = PIL.Image.open(file).convert("RGB")
            processor(images=image, return_tensors="pt")

    measure = Measure(f"{title}, a core's work", "images/s", "Pillow and the processor", goal)
    sides = {
        "ours": lambda: len(files) / _cpu_seconds(ours),
        "theirs": lambda: len(files) / _cpu_seconds(theirs),
    }
    with one_core():
        engine.prepare(jobs[:2])
        theirs(files[:2])
        for taken in take_turns(sides, options.repeats):
            measure.add(taken["ours"], taken["theirs"])
            log(f"{title}, images/s a core: ours {taken['ours']:.0f}, theirs {taken['theirs']:.0f}")
    return measure


def _engine(
    case: Case,
    engine: AnyEngine,
    checkpoint: Path,
    files: Sequence[Path],
    options: Options,
    log: Log,
    notes: list[str],
) -> list[Measure]:
    pipeline = ImagePipeline(checkpoint, device="cpu")
    jobs = models.image_jobs(files)
    sides: dict[str, Callable[[], Timed[Answers]]] = {
        "ours": lambda: timed(lambda: models.run(engine, jobs)),
        "batched": lambda: timed(lambda: pipeline.batched(files)),
        "loaders": lambda: timed(lambda: pipeline.batched(files, num_workers=_LOADERS)),
    }
    models.run(engine, jobs[:BATCH])
    pipeline.batched(files[:BATCH])
    limit = image_limit(checkpoint, BATCH)
    usual = Measure(case.name, "images/s", f"pipeline, batches of {BATCH}", case.goal)
    loaders = Measure(case.name, "images/s", f"pipeline, {_LOADERS} loaders")
    bare = Measure(case.name, "images/s", "bare forward")
    same = Measure(f"{case.name}, the same label", "%")
    for taken in take_turns(sides, options.repeats):
        rates = {name: len(files) / each.seconds for name, each in taken.items()}
        usual.add(rates["ours"], rates["batched"])
        loaders.add(rates["ours"], rates["loaders"])
        bare.add(rates["ours"], limit())
        same.add(agreement(taken["ours"].value, taken["batched"].value))
        shown = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
        log(f"{case.name}, images/s: {shown}")
    apart = largest_difference(taken["ours"].value, taken["batched"].value)
    notes.append(f"{case.name}: largest difference of a score {apart:.1e}")
    return [usual, loaders, bare, same]


def _cpu_seconds(action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return time.process_time() - start
