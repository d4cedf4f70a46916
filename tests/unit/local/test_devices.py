"""Which cards there are: as the environment says, or as the driver lists them."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelmill.core.errors import ConfigurationError
from labelmill.local.devices import CPU, Device, cards, choose

FIRST = "GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77"
SECOND = "GPU-8dfe12c1-3a4c-7e83-a9b1-0d7a2dd3b6f0"
SLICES = (
    "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f",
    "MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb",
)
PLAIN = f"""\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: {FIRST})
GPU 1: NVIDIA H100 80GB HBM3 (UUID: {SECOND})
"""
SLICED = f"""\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: {FIRST})
  MIG 3g.20gb     Device  0: (UUID: {SLICES[0]})
  MIG 1c.2g.10gb  Device  1: (UUID: {SLICES[1]})
GPU 1: NVIDIA A100-SXM4-40GB (UUID: {SECOND})
"""
# Drivers before 470 named slices after their card.
OLD_SLICE = f"MIG-{FIRST}/1/0"
OLD_SLICED = f"""\
GPU 0: A100-SXM4-40GB (UUID: {FIRST})
  MIG 3g.20gb Device 0: (UUID: {OLD_SLICE})
"""


class Machine:
    """A machine whose ``nvidia-smi`` is a script of ours."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._script = folder / "nvidia-smi"
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("PATH", str(folder))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def lists(self, listing: str, exit_code: int = 0) -> None:
        # In the shell's own words: nothing else is on the PATH.
        self.runs(f"[ \"$*\" = -L ] || exit 9\nprintf %s '{listing}'\nexit {exit_code}\n")

    def runs(self, script: str) -> None:
        self._script.write_text(f"#!/bin/sh\n{script}")
        self._script.chmod(0o755)

    def shows(self, visible: str) -> None:
        self._monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_the_cards_that_the_driver_lists(machine: Machine) -> None:
    machine.lists(PLAIN)
    assert choose("all") == [Device("gpu0", FIRST), Device("gpu1", SECOND)]


@pytest.mark.parametrize(
    ("listing", "found"),
    [(SLICED, [*SLICES, SECOND]), (OLD_SLICED, [OLD_SLICE])],
    ids=["of today", "of old drivers"],
)
def test_a_card_in_slices_is_its_slices(machine: Machine, listing: str, found: list[str]) -> None:
    machine.lists(listing)
    assert [card.visible for card in cards()] == found
    assert [card.name for card in cards()] == [f"gpu{number}" for number in range(len(found))]


def test_a_card_that_is_lost_hides_no_other(machine: Machine) -> None:
    lost = "Unable to determine the device handle for GPU0000:41:00.0: Unknown Error\n"
    machine.lists(PLAIN.splitlines(keepends=True)[0] + lost, exit_code=255)
    assert cards() == [Device("gpu0", FIRST)]


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        ("3", ["3"]),
        ("2,0", ["2", "0"]),
        (" 1 , 0 ", ["1", "0"]),
        (f"{SECOND},{SLICES[0]}", [SECOND, SLICES[0]]),
        (OLD_SLICE, [OLD_SLICE]),
        ("1,-1,0", ["1"]),
        ("1,,0", ["1"]),
        ("1,none,0", ["1"]),
    ],
)
def test_the_environment_says_which_are_visible(
    machine: Machine, visible: str, found: list[str]
) -> None:
    machine.lists(PLAIN)
    machine.shows(visible)
    assert [card.visible for card in choose("all")] == found


@pytest.mark.parametrize("visible", ["", "-1", "-1,0", "NoDevFiles"])
def test_an_environment_that_shows_none(machine: Machine, visible: str) -> None:
    machine.lists(PLAIN)
    machine.shows(visible)
    with pytest.raises(ConfigurationError, match=r"CUDA_VISIBLE_DEVICES is .*--devices cpu"):
        choose("all")


def test_an_environment_that_shows_one_twice(machine: Machine) -> None:
    machine.shows("0,1,0")
    with pytest.raises(ConfigurationError, match="names a card twice: 0,1,0"):
        choose("all")


def test_cards_by_number_in_the_order_that_was_asked_for(machine: Machine) -> None:
    machine.lists(SLICED)
    assert choose("cuda:2, cuda:0") == [Device("gpu2", SECOND), Device("gpu0", SLICES[0])]
    machine.shows("5,7")
    assert choose("cuda:1") == [Device("gpu1", "7")]


def test_the_cpu_needs_no_driver(machine: Machine) -> None:
    assert choose("cpu") == [CPU]
    machine.lists(PLAIN)
    assert choose("cpu,cuda:1") == [CPU, Device("gpu1", SECOND)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("cuda:7", rf"no device cuda:7: there is cuda:0 \({FIRST}\), cuda:1 \({SECOND}\)"),
        ("cuda:0,cuda:0", "names a device twice; .*--per-device"),
        ("cuda:0,cuda:00", "names a device twice"),
        ("cpu,cpu", "names a device twice"),
        ("gpu0", "no device 'gpu0': --devices takes all, cpu, or cuda:0"),
        ("cuda", "no device 'cuda'"),
        ("cuda:-1", "no device 'cuda:-1'"),
        ("all,cpu", "no device 'all'"),
        ("cuda:0,", "no device ''"),
        ("", "no device ''"),
    ],
)
def test_devices_that_there_are_not(machine: Machine, words: str, message: str) -> None:
    machine.lists(PLAIN)
    with pytest.raises(ConfigurationError, match=message) as refused:
        choose(words)
    assert "\n" not in str(refused.value)


def test_a_machine_without_a_driver(machine: Machine) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no nvidia-smi; .*--devices cpu"):
        choose("all")


@pytest.mark.parametrize(
    ("said", "exit_code"),
    [
        ("No devices found.\n", 6),
        ("NVIDIA-SMI has failed because it could not communicate with the driver.\n\n", 9),
    ],
)
def test_a_driver_without_a_card(machine: Machine, said: str, exit_code: int) -> None:
    machine.lists(said, exit_code)
    with pytest.raises(ConfigurationError, match=rf"says: {said.strip()}; .*--devices cpu"):
        choose("cuda:0")


def test_a_driver_that_hangs(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.runs("while :; do :; done\n")
    monkeypatch.setattr("labelmill.local.devices._ASK_TIMEOUT_S", 0.1)
    with pytest.raises(ConfigurationError, match="nvidia-smi does not answer within"):
        choose("all")
