"""``python -m labelmill.bench.gpu``: the engines and a whole worker on a CUDA device.

===================  ===========================================================================
text engine          tokens a second of ``forward``, and of all three steps as a worker overlaps
                     them, against a bare forward pass of the same model over ready inputs of one
                     length; and against the pipeline in batches of 32, in the same precision
image engine         images a second from files, against a bare forward pass
parity               packed against the pipeline's padded scores, in single and half precision
too little memory    the memory that may be taken is cut until a group does not fit: the engine
                     has to answer for each job all the same
the whole worker     Redis to rows, against its engine; and how busy the device is meanwhile
===================  ===========================================================================

It needs a Redis (the wheel's will do) and SQLite. ``--device cpu --smoke`` runs the same code with
tiny models where there is no GPU, to see that it runs; such figures are marked as none.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch

from labelmill.bench import checkpoints, inputs, plot
from labelmill.bench.arguments import count, parser
from labelmill.bench.console import log, run, show
from labelmill.bench.cores import use_threads
from labelmill.bench.device import (
    Device,
    parity,
    text_engine,
    too_little_memory,
    vit_engine,
    whole_worker,
)
from labelmill.bench.facts import MODEL_PACKAGES, QUEUE_PACKAGES, facts
from labelmill.bench.report import Report
from labelmill.core.errors import ConfigurationError

Save = Callable[[Path], Path]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what only a GPU shows."""
    given = _parsed(arguments)
    device, smoke = given.device, given.smoke
    repeats, group_size, texts, images = (
        (1, 16, 48, 4) if smoke else (given.repeats, given.group_size, given.texts, given.images)
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # everything is still cleaned up
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigurationError("there is no CUDA device here; see --device cpu --smoke")
    if device == "cuda":  # some of torch's functions want a number
        device = f"cuda:{torch.cuda.current_device()}"
    if smoke:
        use_threads(1)
    on = Device(device, "bfloat16", group_size, given.token_budget, repeats, log)
    measured_on = facts(*MODEL_PACKAGES, *QUEUE_PACKAGES)
    if on.is_cuda:
        measured_on["gpu"] = torch.cuda.get_device_name(device)
        measured_on["cuda"] = torch.version.cuda
    options = {"device": device, "group_size": group_size, "texts": texts, "smoke": smoke}
    report = Report("gpu", [], options, measured_on)
    if not on.is_cuda:
        report.notes.append("not measured on a GPU: these figures mean nothing")

    some = inputs.texts(texts)
    with tempfile.TemporaryDirectory(prefix="labelmill-bench-") as name:
        folder = Path(name)
        saved = _checkpoints(folder, smoke=smoke)
        photographs = inputs.photographs(folder / "images", images, (500, 375))
        for title in ("DistilBERT", "BERT base"):
            report.measures += text_engine(on, title, saved[title], some)
        report.measures += vit_engine(on, "ViT-B/16", saved["ViT-B/16"], photographs)
        parity(on, saved["DistilBERT"], some[:256], report.notes)
        too_little_memory(on, saved["DistilBERT"], some[: 2 * group_size], report.notes)
        report.measures += whole_worker(on, "DistilBERT", saved["DistilBERT"], some, report.notes)
    report.write(given.results / "gpu.json")
    if find_spec("matplotlib"):
        plot.draw(report, given.results / "gpu.png")
    show(report)


def _checkpoints(folder: Path, *, smoke: bool) -> dict[str, Path]:
    makers: dict[str, Save] = {
        "DistilBERT": checkpoints.tiny_bert if smoke else checkpoints.distilbert,
        "BERT base": checkpoints.tiny_bert if smoke else checkpoints.bert_base,
        "ViT-B/16": checkpoints.tiny_vit if smoke else checkpoints.vit_base,
    }
    return {
        title: save(folder / str(number)) for number, (title, save) in enumerate(makers.items())
    }


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parse = parser("python -m labelmill.bench.gpu", main.__doc__)
    parse.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu with --smoke")
    parse.add_argument("--group-size", type=count(1024), default=1024, help="jobs of a group")
    parse.add_argument(
        "--token-budget", type=count(), help="tokens of a pass; by default the worker's own"
    )
    parse.add_argument("--texts", type=count(), default=8192, help="how many texts")
    parse.add_argument("--images", type=count(), default=2048, help="how many images")
    return parse.parse_args(arguments)


if __name__ == "__main__":
    run(main)
