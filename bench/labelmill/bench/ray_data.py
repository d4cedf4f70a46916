"""Ray Data's ``map_batches``, the peer for bulk work, with one model; ours with one worker.

Both read the same image files. Ours gets them from Redis and commits their rows; Ray hands back
labels and scores, and writes nothing. Its model's actor preprocesses too, or leaves that to an
actor beside it. Counted is its steady state (:func:`.ray_peer.steady_rate`); ours is counted
as in :mod:`.queueing.trial`.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch

from labelmill.bench import checkpoints, inputs
from labelmill.bench.endtoend import EndToEnd, end_to_end
from labelmill.bench.facts import MODEL_PACKAGES, QUEUE_PACKAGES, facts
from labelmill.bench.options import Log, Options
from labelmill.bench.peers import BATCH
from labelmill.bench.queueing.trial import Load
from labelmill.bench.report import Measure, Report
from labelmill.bench.tables import ModelTable, checkpoint_table
from labelmill.bench.turns import take_turns

_FULL_IMAGES, _SMOKE_IMAGES = 2048, 64
_CASES = (  # the model, what part of the images it labels, and the goal
    ("ViT tiny", checkpoints.tiny_vit, 1.0, 1.4),
    ("ViT-Ti/16", checkpoints.vit_ti, 0.125, None),
)
_SIZE = (500, 375)


def run(options: Options, log: Log) -> Report:
    """Measure one worker against one actor; without Ray, say so."""
    report = Report(
        "ray",
        [],
        options.as_json(),
        facts(*MODEL_PACKAGES, *QUEUE_PACKAGES, "ray", "pyarrow")
        | {"threads": torch.get_num_threads()},
    )
    if find_spec("ray") is None:
        report.notes.append(
            "skipped: Ray is not installed; pip install -r bench/requirements-peers.txt"
        )
        return report
    number = options.pick(_FULL_IMAGES, _SMOKE_IMAGES)
    with (
        tempfile.TemporaryDirectory(prefix="labelmill-bench-") as name,
        end_to_end() as ours,
        _ray(),
    ):
        folder = Path(name)
        if options.image_folder:
            root = options.image_folder
            files = inputs.own_images(options.image_folder, number)
        else:
            root = folder / "images"
            files = inputs.photographs(root, number, _SIZE)
        for title, save, part, goal in options.pick(_CASES, _CASES[:1]):
            checkpoint = save(folder / title.replace("/", "-"))
            model = checkpoint_table("image", checkpoint, options.group_size)
            some = files[: max(_SMOKE_IMAGES, round(part * len(files)))]
            sides = _sides(ours, model, checkpoint, some, root)
            best = Measure(f"{title}, files to rows", "images/s", "Ray Data at its best", goal)
            single = Measure(f"{title}, files to rows", "images/s", "Ray Data, one actor")
            split = Measure(f"{title}, files to rows", "images/s", "Ray Data, an actor a step")
            for taken in take_turns(sides, options.repeats):
                best.add(taken["ours"], max(taken["one actor"], taken["an actor a step"]))
                single.add(taken["ours"], taken["one actor"])
                split.add(taken["ours"], taken["an actor a step"])
                shown = ", ".join(f"{name} {rate:.1f}" for name, rate in taken.items())
                log(f"{title}, images/s: {shown}")
            report.measures += [best, single, split]
    return report


def _sides(
    ours: EndToEnd, model: ModelTable, checkpoint: Path, files: list[Path], root: Path
) -> dict[str, Callable[[], float]]:
    load = Load(files, files[:BATCH])
    return {
        "ours": lambda: ours.trial(model, load, image_root=root).rate,
        "one actor": lambda: _steady_rate(files, checkpoint, split=False),
        "an actor a step": lambda: _steady_rate(files, checkpoint, split=True),
    }


def _steady_rate(files: list[Path], checkpoint: Path, *, split: bool) -> float:
    from labelmill.bench.ray_peer import steady_rate

    return steady_rate(files, checkpoint, BATCH, torch.get_num_threads(), split=split)


@contextmanager
def _ray() -> Iterator[None]:
    """A Ray of this machine alone, until the end of the block."""
    import ray

    os.environ.setdefault(
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
    )  # its next default; or it warns
    with tempfile.TemporaryDirectory(prefix="labelmill-ray-") as folder:
        ray.init(
            num_cpus=os.cpu_count(),
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # after its import, which sets it
        try:
            yield
        finally:
            ray.shutdown()
