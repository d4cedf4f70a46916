"""The session: what a part measures with, and the report that it adds to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import torch

from labelmill.bench import checkpoints, inputs, models
from labelmill.bench.device.time_limit import TimeLimit
from labelmill.bench.options import Log
from labelmill.bench.peers import TextPipeline
from labelmill.bench.report import Curve, Measure, Report
from labelmill.bench.tables import ModelTable, checkpoint_table
from labelmill.engines.text import TextEngine

_SAVERS: dict[str, Callable[[Path], Path]] = {
    "DistilBERT": checkpoints.distilbert,
    "BERT base": checkpoints.bert_base,
    "BERT base, 128 tokens": lambda folder: checkpoints.cut_at(128, checkpoints.bert_base(folder)),
    "ViT-B/16": checkpoints.vit_base,
}
_SMOKE_SAVERS: dict[str, Callable[[Path], Path]] = {
    "DistilBERT": checkpoints.tiny_bert,
    "BERT base": checkpoints.tiny_bert,
    "BERT base, 128 tokens": lambda folder: checkpoints.cut_at(128, checkpoints.tiny_bert(folder)),
    "ViT-B/16": checkpoints.tiny_vit,
}


@dataclass(frozen=True)
class Device:
    """Where and how it is measured."""

    name: str
    dtype: str
    group_size: int
    token_budget: int | None

    @property
    def is_cuda(self) -> bool:
        """Whether it is a GPU."""
        return self.name.startswith("cuda")

    def table(self, task: str, checkpoint: Path, **settings: str | int) -> ModelTable:
        """The model's entry in ``models.toml``."""
        budget = {} if self.token_budget is None else {"token_budget": self.token_budget}
        given = {"device": self.name, "dtype": self.dtype, **budget, **settings}
        return checkpoint_table(task, checkpoint, self.group_size, **given)

    def text_engine(self, checkpoint: Path, **settings: str | int) -> TextEngine:
        """The engine of a text model, as a worker would load it."""
        return cast("TextEngine", models.load(self.table("text", checkpoint, **settings)))

    def pipeline(self, checkpoint: Path) -> TextPipeline:
        """The peer here."""
        return TextPipeline(checkpoint, device=self.name, dtype=getattr(torch, self.dtype))

    def wait(self) -> None:
        """Until the device has done all that it was given."""
        if self.is_cuda:
            torch.cuda.synchronize(self.name)


@dataclass(frozen=True)
class Session:
    """What all parts share.

    Attributes:
        on: the device.
        smoke: whether sizes are so small that figures mean nothing.
        texts_number: how many texts.
        images_number: how many images.
        folder: for checkpoints and images.
        report: what was found so far.
        limit: how often a part may repeat itself.
        save: writes the report.
        log: told of each repeat.
    """

    on: Device
    smoke: bool
    texts_number: int
    images_number: int
    folder: Path
    report: Report
    limit: TimeLimit
    save: Callable[[], None]
    log: Log

    def measure(
        self, what: str, unit: str, peer_name: str = "", goal: float | None = None
    ) -> Measure:
        """A new measure of the report."""
        made = Measure(what, unit, peer_name, goal)
        self.report.measures.append(made)
        return made

    def curve(self, title: str, x: str, y: str) -> list[tuple[float, float]]:
        """The points of a new curve of the report."""
        made = Curve(title, x, y, [])
        self.report.curves.append(made)
        return made.points

    def note(self, line: str) -> None:
        """Add a line to the report, and say it."""
        self.report.notes.append(line)
        self.log(line)

    def repeats(self) -> Iterator[int]:
        """The numbers of a measurement's repeats; the report is written after each."""
        for number in self.limit.repeats():
            yield number
            self.save()

    def checkpoint(self, title: str) -> Path:
        """The folder of a model; it is made when it is first asked for."""
        folder = self.folder / title.replace("/", "-")
        if not folder.exists():
            (_SMOKE_SAVERS if self.smoke else _SAVERS)[title](folder)
        return folder

    @cached_property
    def texts(self) -> list[str]:
        """Of lengths as messages have."""
        return inputs.texts(self.texts_number)

    @cached_property
    def images(self) -> list[Path]:
        """JPEG files as large as those of ImageNet."""
        return inputs.photographs(self.folder / "images", self.images_number, (500, 375))
