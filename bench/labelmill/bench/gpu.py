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

import signal
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.markup import escape

from labelmill.bench import checkpoints, inputs, plot
from labelmill.bench.console import RESULTS, console, log, show
from labelmill.bench.cores import use_threads
from labelmill.bench.device import Device, parity, text_engine, too_little_memory, vit_engine, whole_worker
from labelmill.bench.facts import MODEL_PACKAGES, QUEUE_PACKAGES, facts
from labelmill.bench.report import Report
from labelmill.core.errors import ConfigurationError, LabelmillError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Save = Callable[[Path], Path]


@app.command()
def main(
    device: Annotated[str, typer.Option(help="cuda, cuda:1, or cpu with --smoke.")] = "cuda",
    repeats: Annotated[int, typer.Option(min=1, help="How often each side is measured.")] = 3,
    group_size: Annotated[int, typer.Option(min=1, max=1024)] = 1024,
    token_budget: Annotated[
        int | None, typer.Option(min=1, help="Tokens of a pass; by default the worker's own.")
    ] = None,
    texts: Annotated[int, typer.Option(min=1, help="How many texts.")] = 8192,
    images: Annotated[int, typer.Option(min=1, help="How many images.")] = 2048,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Tiny sizes, to see that it runs.")
    ] = False,
    results: Annotated[Path, typer.Option(help="The folder for the JSON file and plot.")] = RESULTS,
) -> None:
    """Measure what only a GPU shows."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # everything is still cleaned up
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigurationError("there is no CUDA device here; see --device cpu --smoke")
    if device == "cuda":  # some of torch's functions want a number
        device = f"cuda:{torch.cuda.current_device()}"
    if smoke:
        use_threads(1)
        repeats, group_size, texts, images = 1, 16, 48, 4
    on = Device(device, "bfloat16", group_size, token_budget, repeats, log)
    measured_on = facts(*MODEL_PACKAGES, *QUEUE_PACKAGES)
    if on.is_cuda:
        measured_on["gpu"] = torch.cuda.get_device_name(device)
        measured_on["cuda"] = torch.version.cuda
    options = {"device": device, "group_size": group_size, "texts": texts, "smoke": smoke}
    report = Report("gpu", [], options, measured_on)
    if not on.is_cuda:
        report.notes.append("[bold red]not measured on a GPU[/]: these figures mean nothing")

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
    report.write(results / "gpu.json")
    if find_spec("matplotlib"):
        plot.draw(report, results / "gpu.png")
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


if __name__ == "__main__":
    try:
        app(prog_name="python -m labelmill.bench.gpu")
    except LabelmillError as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
        raise SystemExit(1) from None
