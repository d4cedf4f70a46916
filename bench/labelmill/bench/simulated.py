"""A simulated GPU: all that a worker's host does for one, in front of a clock.

The engine of texts tokenises, lays texts end to end, launches and reads back as the text engine
does on CUDA. The device itself is a timeline: a pass is done when those before it are, plus its
texts times :data:`SECONDS_A_TEXT`. Several workers share one, by a file. What a launch costs the
host is had from a model of twelve layers, as BERT base has them, that is twelve wide and sees one
token a text: about as many operations, of which nearly all is their launch. The engine of images
fetches, decodes and stacks as the image engine does, and computes nothing.
"""

from __future__ import annotations

import fcntl
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
import transformers

from labelmill.core.catalog import ModelSpec
from labelmill.core.errors import JobError
from labelmill.core.job import Job
from labelmill.core.result import LabelScore
from labelmill.core.scatter import scatter
from labelmill.core.settings import EngineSettings
from labelmill.engines import Engine, transfer
from labelmill.engines.block import Block
from labelmill.engines.image import ImageEngine
from labelmill.engines.labels import LabelDecoder, Logits
from labelmill.engines.packed import PackedModel, Pooling
from labelmill.engines.packing import Layout, pack
from labelmill.engines.tokens import BatchTokenizer, Encoding
from labelmill.engines.transfer import Fetched, Row, Transfer
from labelmill.images.fetch import image_fetcher
from labelmill.images.preprocess import Pixels

#: What an H100 should need of BERT base for a text of 52 tokens.
SECONDS_A_TEXT = 1 / 30_000
#: And of ViT-B/16 for an image.
SECONDS_AN_IMAGE = 1 / 3_000

_BUDGET = 65_536  # tokens
_DEPTH = _WIDTH = 12
# In the checkpoint's folder: until when the device is busy, and its own speed where it has one.
_CLOCK = "device.bin"
_SPEED = "seconds.txt"


class SimulatedDevice:
    """A device that several processes share: until when it is busy, in a file.

    Parameters:
        folder: of the file.
        seconds: for an input, unless :func:`slow_down` has said otherwise.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self._clock = folder / _CLOCK
        self._clock.touch()
        own = folder / _SPEED
        self._seconds = float(own.read_text()) if own.exists() else seconds

    def launch(self, inputs: int) -> float:
        """Add a pass; returns when it is done, on the clock of ``time.monotonic``."""
        with self._clock.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            until: float = struct.unpack("d", file.read(8) or bytes(8))[0]
            done: float = max(time.monotonic(), until) + inputs * self._seconds
            file.seek(0)
            file.write(struct.pack("d", done))
        return done


def slow_down(folder: Path, seconds: float) -> None:
    """Let the device of a folder take that long for an input."""
    (folder / _SPEED).write_text(repr(seconds))


class SimulatedGpuEngine(Engine[Encoding, Row]):
    """The text engine's host side, on a simulated device; its labels mean nothing.

    Its checkpoint is a folder with a tokenizer.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        torch.set_num_threads(1)
        folder = cast("Path", spec.folder)
        self.device = "simulated"
        self._device = SimulatedDevice(folder, SECONDS_A_TEXT)
        self._transfer = Transfer()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self._tokenize = BatchTokenizer(tokenizer, tokenizer.model_max_length)
        config = transformers.BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=_WIDTH,
            num_hidden_layers=_DEPTH,
            num_attention_heads=1,
            intermediate_size=_WIDTH,
            num_labels=4,
        )
        model = transformers.BertForSequenceClassification(config).eval()
        self._run = torch.inference_mode()(
            PackedModel(
                model,
                Pooling.FIRST_NARROW,
                inputs=self._tokenize.inputs,
                first_position=0,
                transfer=self._transfer,
                kernel=None,
            )
        )
        self._decoder = LabelDecoder(config)
        self.fill_passes(_BUDGET // 50)

    def prepare(self, jobs: Sequence[Job]) -> list[Encoding | JobError]:
        """Tokenise."""
        return [*self._tokenize([cast("str", job.text) for job in jobs])]

    def forward(self, inputs: Sequence[Encoding]) -> list[Row | JobError]:
        """Launch packs; they are done when the device's clock says so."""
        lengths = [text.shape[1] for text in inputs]
        packs = pack(lengths, _BUDGET, Layout.PACKED)
        return scatter(
            len(inputs),
            ((chosen, self._launch([inputs[place] for place in chosen])) for chosen in packs),
        )

    def wait(self, outputs: Sequence[Row]) -> None:
        """Sleep until the device is done."""
        transfer.wait(outputs)

    def decode(
        self, outputs: Sequence[Row], top_k: Sequence[int]
    ) -> list[list[LabelScore] | JobError]:
        """As the text engine."""
        return self._decoder.decode(transfer.gather(outputs), top_k)

    def _launch(self, texts: Sequence[Encoding]) -> list[Row | JobError]:
        Block.of(texts, self._transfer, 0, None)
        logits = self._run([text[:, :1] for text in texts])
        done = self._device.launch(len(texts))
        fetched = _Simulated(self._transfer.fetch(logits), done)
        return [Row(fetched, place) for place in range(len(texts))]


class SimulatedGpuImages(ImageEngine):
    """The image engine's host side, on a simulated device; its labels mean nothing.

    Its checkpoint is any image classifier.
    """

    def __init__(self, spec: ModelSpec) -> None:
        settings = EngineSettings()
        super().__init__(spec, image_fetcher(settings), settings.max_image_pixels)
        torch.set_num_threads(1)
        self.device = "simulated"
        self._clock = SimulatedDevice(cast("Path", spec.folder), SECONDS_AN_IMAGE)

    def _run(self, images: Sequence[Pixels]) -> torch.Tensor:
        for name in images[0]:
            self._send([image[name] for image in images])
        return torch.zeros(len(images), self._model.config.num_labels)

    def forward(self, inputs: Sequence[Pixels]) -> list[Row | JobError]:
        """Launch all; they are done when the device's clock says so."""
        rows = super().forward(inputs)
        done = self._clock.launch(len(inputs))
        return [
            row if isinstance(row, JobError) else Row(_Simulated(row.fetched, done), row.place)
            for row in rows
        ]


class _Simulated:
    def __init__(self, here: Fetched, done: float) -> None:
        self._here = here
        self._done = done

    def wait(self) -> None:
        time.sleep(max(0.0, self._done - time.monotonic()))

    def rows(self) -> Logits:
        self.wait()
        return self._here.rows()
