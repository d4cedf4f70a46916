"""``python -m labelmill.bench.gpu``: the engines and a whole worker on a CUDA device.

===========  ====================================================================================
layout       how each family of models shares a pass in each precision, and why not in a better way
parity       scores on the device against single precision on the CPU, beside the pipeline's
long-text    the mean over 4,096 tokens, as a model's head takes it
waits        where ``forward`` waits for the device, and how long each step of a group takes
passes       when ``forward`` returns and when the device is done, by the tokens of a pass
distilbert   tokens a second of ``forward``, and of all three steps as a worker overlaps them,
             against a bare forward pass of the same model over ready inputs of one length; and
             against the pipeline in batches of 32, as they come and sorted, in the same precision
bert-base    the same
bert-128     sequences of 128 tokens a second, as others publish them
worker       Redis to rows with 1, 2 and 4 workers on the card, against the engine and the
             pipeline; how busy the device is meanwhile, and what energy it takes
vit          images a second from JPEG files, against a bare forward pass and decoding alone
memory       the memory that may be taken is cut until a group does not fit: the engine has to
             answer for each job all the same
compile      ``forward`` with ``compile = true`` against without
===========  ====================================================================================

It needs a Redis (the wheel's will do) and SQLite. The report is written after each part and each
repeat. ``--device cpu --smoke`` runs the same code with tiny models where there is no GPU, to see
that it runs; such figures are marked as none.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch

from labelmill.bench import plot
from labelmill.bench.arguments import count, parser
from labelmill.bench.console import log, run, show
from labelmill.bench.cores import use_threads
from labelmill.bench.device import launches, memory, rates, scores, worker
from labelmill.bench.device.parts import Part, run_parts
from labelmill.bench.device.session import Device, Session
from labelmill.bench.device.time_limit import TimeLimit
from labelmill.bench.errors import BenchmarkError
from labelmill.bench.facts import MODEL_PACKAGES, QUEUE_PACKAGES, facts
from labelmill.bench.report import Report
from labelmill.core.errors import ConfigurationError
from labelmill.core.exit_codes import INTERRUPTED

#: By name, in the order in which they run: what is short and tells most is first.
PARTS: dict[str, Part] = {
    "layout": scores.layout,
    "parity": scores.parity,
    "long-text": scores.long_text,
    "waits": launches.waits,
    "passes": launches.passes,
    "distilbert": partial(rates.texts, "DistilBERT"),
    "bert-base": partial(rates.texts, "BERT base"),
    "bert-128": rates.sequences,
    "worker": worker.whole_worker,
    "vit": rates.images,
    "memory": memory.too_little_memory,
    "compile": rates.compiled,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what only a GPU shows."""
    given = _parsed(arguments)
    for end in (signal.SIGINT, signal.SIGTERM):  # a shell ignores SIGINT for what it runs behind
        signal.signal(end, signal.default_int_handler)
    on = Device(
        _device(given.device), "bfloat16", 16 if given.smoke else given.group_size,
        given.token_budget,
    )  # fmt: skip
    if given.smoke:
        use_threads(1)
    report = _report(on, given)
    parts = {name: part for name, part in PARTS.items() if name in given.parts}
    with tempfile.TemporaryDirectory(prefix="labelmill-bench-") as folder:
        session = Session(
            on=on,
            smoke=given.smoke,
            texts_number=32 if given.smoke else given.texts,
            images_number=4 if given.smoke else given.images,
            folder=Path(folder),
            report=report,
            limit=TimeLimit(1 if given.smoke else given.repeats, len(parts), given.seconds),
            save=lambda: report.write(given.json),
            log=log,
        )
        try:
            failed = run_parts(parts, session)
        except KeyboardInterrupt:
            show(report)
            sys.exit(INTERRUPTED)
    if find_spec("matplotlib") and not given.smoke:  # it would take longer than most parts
        plot.draw(report, given.json.with_suffix(".png"))
    show(report)
    if failed:
        raise BenchmarkError(f"failed: {', '.join(failed)}")


def _device(name: str) -> str:
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigurationError("there is no CUDA device here; see --device cpu --smoke")
    # Some of torch's functions want a number.
    return f"cuda:{torch.cuda.current_device()}" if name == "cuda" else name


def _report(on: Device, given: argparse.Namespace) -> Report:
    measured_on = facts(*MODEL_PACKAGES, *QUEUE_PACKAGES)
    if on.is_cuda:
        measured_on["gpu"] = torch.cuda.get_device_name(on.name)
        measured_on["cuda"] = torch.version.cuda
    options = {"device": on.name, "group_size": on.group_size}
    options |= {name: getattr(given, name) for name in ("texts", "images", "seconds", "smoke")}
    report = Report("gpu", [], options, measured_on)
    if not on.is_cuda:
        report.notes.append("not measured on a GPU: these figures mean nothing")
    return report


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parse = parser("python -m labelmill.bench.gpu", main.__doc__)
    parse.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu with --smoke")
    parse.add_argument(
        "--parts", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART",
        help="what to measure",
    )  # fmt: skip
    parse.add_argument(
        "--seconds", type=count(),
        help="leave repeats out, but never the first, to be done by then",
    )  # fmt: skip
    parse.add_argument(
        "--json", type=Path, help="the report's file; by default gpu.json in --results"
    )
    parse.add_argument("--group-size", type=count(1024), default=1024, help="jobs of a group")
    parse.add_argument(
        "--token-budget", type=count(), help="tokens of a pass; by default the worker's own"
    )
    parse.add_argument("--texts", type=count(), default=8192, help="how many texts")
    parse.add_argument("--images", type=count(), default=2048, help="how many images")
    given = parse.parse_args(arguments)
    given.json = given.json or given.results / "gpu.json"
    return given


if __name__ == "__main__":
    run(main)
