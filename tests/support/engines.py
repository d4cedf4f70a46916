"""An engine that does what its jobs' texts tell it, for tests of all that is around engines."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from labelmill.core.errors import JobError
from labelmill.core.job import Job
from labelmill.core.result import LabelScore
from labelmill.engines import Engine

_LOOK_AGAIN_S = 0.005


class ScriptedEngine(Engine[str, str]):
    """Labels a text with itself, unless it is an instruction.

    ``hold <path>``
        creates ``<path>.started`` and keeps the device until ``<path>`` exists.
    ``company``
        is labelled with the number of inputs that are on the device with it, itself included.
    ``pause``
        keeps the device for a moment, as a model would.
    ``count <path>``
        adds a byte to the file each time that it is on the device.
    ``kill`` / ``abort`` / ``segfault``
        ends the process on the device: with SIGKILL, as a failed assertion, by a wild pointer.
    ``hang`` / ``hang-once <path>``
        keeps the device for ever; the latter only as long as ``<path>`` does not exist.
    ``nan``
        is given a score that is no number.
    ``kill-once <path>``
        likewise, but only as long as ``<path>`` does not exist.
    ``raise`` / ``raise-in-prepare``
        makes the whole batched step raise.
    ``die``
        ends the thread of the stage, as an error outside the engine would.
    """

    def prepare(self, jobs: Sequence[Job]) -> list[str | JobError]:
        texts = [str(job.text) for job in jobs]
        if "raise-in-prepare" in texts:
            raise ValueError("a secret payload")
        return list(texts)

    def forward(self, inputs: Sequence[str]) -> list[str | JobError]:
        for text in inputs:
            self._obey(*text.split(" ", 1))
        return [str(len(inputs)) if text == "company" else text for text in inputs]

    def decode(
        self, outputs: Sequence[str], top_k: Sequence[int]
    ) -> list[list[LabelScore] | JobError]:
        return [[{"label": text, "score": math.nan if text == "nan" else 1.0}] for text in outputs]

    def _obey(self, instruction: str, argument: str = "") -> None:
        if instruction == "hold":
            Path(f"{argument}.started").touch()
            while not Path(argument).exists():
                time.sleep(_LOOK_AGAIN_S)
        elif instruction == "pause":
            time.sleep(_LOOK_AGAIN_S)
        elif instruction == "count":
            with Path(argument).open("ab") as file:
                file.write(b".")
        elif instruction == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif instruction == "abort":
            os.abort()
        elif instruction == "segfault":
            ctypes.string_at(0)
        elif instruction == "hang":
            _hang()
        elif instruction == "hang-once" and not Path(argument).exists():
            Path(argument).touch()
            _hang()
        elif instruction == "kill-once" and not Path(argument).exists():
            Path(argument).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        elif instruction == "raise":
            raise ValueError("a secret payload")
        elif instruction == "die":
            raise SystemExit


def _hang() -> None:
    # As a driver that does not come back; unlike a loop, it takes no processor.
    threading.Event().wait()
