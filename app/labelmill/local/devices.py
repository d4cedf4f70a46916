"""The devices of this machine that workers may have, found without CUDA."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

from labelmill.core.errors import ConfigurationError

_VARIABLE = "CUDA_VISIBLE_DEVICES"
_ASK_TIMEOUT_S = 60  # a driver that starts takes seconds, one that hangs does not answer at all

# GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77)
#   MIG 3g.20gb     Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)
_LISTED = re.compile(r"^ *(GPU|MIG) .*\(UUID: (\S+)\)\s*$", re.MULTILINE)
_VISIBLE = re.compile(r"\d+|(?:GPU|MIG)-\S+")
_CHOSEN = re.compile(r"cuda:\d+")
_ADVICE = "without a card, run workers on the CPU: --devices cpu"


class Device(NamedTuple):
    """What a worker computes on.

    Attributes:
        name: ``cpu``, or ``gpu0`` for the first card.
        visible: the ``CUDA_VISIBLE_DEVICES`` by which a process has it, and no other.
    """

    name: str
    visible: str


CPU = Device("cpu", "")


def choose(words: str) -> list[Device]:
    """The devices that ``--devices`` names.

    Parameters:
        words: ``all`` for every card, or ``cuda:0``, ``cuda:1``, … and ``cpu`` with commas between.

    Raises:
        ConfigurationError: there is no such device, or one is named twice.
    """
    names = [word.strip() for word in words.split(",")]
    if names == ["all"]:
        return cards()
    for name in names:
        if name != CPU.name and not _CHOSEN.fullmatch(name):
            raise ConfigurationError(
                f"no device {name!r}: --devices takes all, cpu, or cuda:0, cuda:1 and so on"
            )
    there = [] if {*names} == {CPU.name} else cards()
    devices = [CPU if name == CPU.name else _card(name, there) for name in names]
    if len(set(devices)) < len(devices):
        raise ConfigurationError(
            f"--devices {words} names a device twice; for several workers on each: --per-device"
        )
    return devices


def cards() -> list[Device]:
    """The cards that are visible, one at least; of a card in slices (MIG), its slices.

    Raises:
        ConfigurationError: there is none, or it cannot be found out.
    """
    outside = os.environ.get(_VARIABLE)
    found = _ask_driver() if outside is None else _visible(outside)
    return [Device(f"gpu{number}", visible) for number, visible in enumerate(found)]


def _card(name: str, there: Sequence[Device]) -> Device:
    number = int(name.removeprefix("cuda:"))
    if number < len(there):
        return there[number]
    listed = ", ".join(f"cuda:{each} ({card.visible})" for each, card in enumerate(there))
    raise ConfigurationError(f"no device {name}: there is {listed}")


def _visible(outside: str) -> list[str]:
    """The entries of ``CUDA_VISIBLE_DEVICES`` as CUDA reads them: up to the first invalid one."""
    entries = [entry.strip() for entry in outside.split(",")]
    found = list(takewhile(_VISIBLE.fullmatch, entries))
    if not found:
        raise ConfigurationError(f"no card is visible: {_VARIABLE} is {outside!r}; {_ADVICE}")
    if len(set(found)) < len(found):
        # CUDA itself then shows none.
        raise ConfigurationError(f"{_VARIABLE} names a card twice: {outside}")
    return found


def _ask_driver() -> list[str]:
    """The UUIDs that ``nvidia-smi`` lists: they need no order in which CUDA and it agree."""
    try:
        answer = subprocess.run(
            ["nvidia-smi", "-L"],  # noqa: S607 - the driver's, wherever that is installed
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ASK_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise ConfigurationError(f"no card: there is no nvidia-smi; {_ADVICE}") from None
    except subprocess.TimeoutExpired:
        raise ConfigurationError(
            f"nvidia-smi does not answer within {_ASK_TIMEOUT_S} s: look after the driver, or"
            " name the cards in CUDA_VISIBLE_DEVICES"
        ) from None
    found = _parse(answer.stdout)
    if not found:
        said = " ".join((answer.stdout + answer.stderr).split()) or "nothing"
        raise ConfigurationError(f"no card: nvidia-smi -L says: {said}; {_ADVICE}")
    return found


def _parse(listing: str) -> list[str]:
    found: list[str] = []
    gpu = ""
    for kind, uuid in _LISTED.findall(listing):
        if kind == "GPU":
            gpu = uuid
        elif gpu in found:
            found.remove(gpu)  # as a whole, a card in slices is of no use to CUDA
        found.append(uuid)
    return found
