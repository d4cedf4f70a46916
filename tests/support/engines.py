"""An engine that does what its jobs' texts tell it, for tests of all that is around engines."""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from labelmill.core.catalog import ModelSpec
from labelmill.core.errors import JobError
from labelmill.core.job import Job
from labelmill.core.result import LabelScore
from labelmill.engines import Engine

_LOOK_AGAIN_S = 0.005
_SPARE_BYTES = 1024 * 1024  # less than the stack of a thread


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
    ``fill <bytes>``
        takes so much memory while it is on the device.
    ``nan``
        is given a score that is no number.
    ``kill-once <path>``
        likewise, but only as long as ``<path>`` does not exist.
    ``raise`` / ``raise-in-prepare`` / ``raise-in-wait``
        makes the whole batched step raise.
    ``fail launch <message>`` / ``fail-once <launch|wait> <path> <message>``
        raises it when the device is given it or waited for; the latter only as long as ``<path>``
        does not exist.
    ``fail-in-company <message>``
        raises it unless it is on the device alone.
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
            if text.startswith("fail-in-company ") and len(inputs) > 1:
                raise RuntimeError(text.removeprefix("fail-in-company "))
            _fail(text, "launch")
            self._obey(*text.split(" ", 1))
        return [str(len(inputs)) if text == "company" else text for text in inputs]

    def wait(self, outputs: Sequence[str]) -> None:
        for text in outputs:
            _fail(text, "wait")
        if "raise-in-wait" in outputs:
            raise ValueError("a secret payload")

    def decode(
        self, outputs: Sequence[str], top_k: Sequence[int]
    ) -> list[list[LabelScore] | JobError]:
        self.wait(outputs)  # as of a device, whose error is told each time
        return [[{"label": text, "score": math.nan if text == "nan" else 1.0}] for text in outputs]

    def _obey(self, instruction: str, argument: str = "") -> None:
        if instruction == "hold":
            Path(f"{argument}.started").touch()
            while not Path(argument).exists():
                time.sleep(_LOOK_AGAIN_S)
        elif instruction == "fill":
            bytearray(int(argument))
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


def _fail(text: str, step: str) -> None:
    instruction, _, argument = text.partition(f" {step} ")
    if instruction == "fail":
        raise RuntimeError(argument)
    if instruction == "fail-once":
        path, _, message = argument.partition(" ")
        if not Path(path).exists():
            Path(path).touch()
            raise RuntimeError(message)


class StarvedEngine(ScriptedEngine):
    """Leaves its process too little memory for another thread, once it is loaded."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + _SPARE_BYTES,) * 2)


class LostDeviceEngine(ScriptedEngine):
    """Finds its card gone, when it is loaded or used: on each card that ``LOST_CARDS`` names.

    The variable has the path of a file with values of ``CUDA_VISIBLE_DEVICES``, a line each.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self._look()

    def forward(self, inputs: Sequence[str]) -> list[str | JobError]:
        self._look()
        return super().forward(inputs)

    def _look(self) -> None:
        lost = Path(os.environ["LOST_CARDS"]).read_text().splitlines()
        if os.environ["CUDA_VISIBLE_DEVICES"] in lost:
            raise RuntimeError("CUDA error: uncorrectable ECC error encountered")


class SlowToLoadEngine(ScriptedEngine):
    """Is loaded once the file exists that ``LOADED`` names; it waits as native code does."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        while not Path(os.environ["LOADED"]).exists():
            ctypes.CDLL(None).usleep(10_000)


def _hang() -> None:
    # As a driver that does not come back; unlike a loop, it takes no processor.
    threading.Event().wait()
