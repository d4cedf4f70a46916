"""The part of a machine that a worker gets, and what the user has set himself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labelmill.core.settings import EngineSettings
from labelmill.local.devices import CPU, Device
from labelmill.local.parts import environment

CARD = Device("gpu0", "GPU-1")


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.chdir(tmp_path)
    for variable in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)


def test_each_gets_its_part() -> None:
    assert environment(CARD, EngineSettings(), per_device=2, workers=4) == {
        "CUDA_VISIBLE_DEVICES": "GPU-1",
        "LABELMILL_DEVICE_MEMORY": "0.5",
        "LABELMILL_CPU_THREADS": "2",
        "OMP_NUM_THREADS": "2",
        "RAYON_NUM_THREADS": "2",
    }


@pytest.mark.parametrize("per_device", [1, 3, 7])
def test_parts_are_what_the_settings_take(per_device: int, monkeypatch: pytest.MonkeyPatch) -> None:
    part = environment(CARD, EngineSettings(), per_device=per_device, workers=per_device)
    for variable, value in part.items():
        monkeypatch.setenv(variable, value)
    assert EngineSettings().device_memory * per_device <= 1


def test_more_workers_than_cores() -> None:
    part = environment(CPU, EngineSettings(), per_device=9, workers=9)
    assert part["LABELMILL_CPU_THREADS"] == "1"
    assert part["CUDA_VISIBLE_DEVICES"] == ""


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELMILL_DEVICE_MEMORY", "0.9")
    monkeypatch.setenv("LABELMILL_CPU_THREADS", "3")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert environment(CARD, EngineSettings(), per_device=2, workers=2) == {
        "CUDA_VISIBLE_DEVICES": "GPU-1",
        "LABELMILL_CPU_THREADS": "3",
        "RAYON_NUM_THREADS": "3",
    }


def test_what_the_file_of_labelmill_up_says_stays(tmp_path: Path) -> None:
    (tmp_path / ".labelmill").mkdir()
    (tmp_path / ".labelmill" / "env").write_text("LABELMILL_DEVICE_MEMORY='0.9'\n")
    assert "LABELMILL_DEVICE_MEMORY" not in environment(
        CARD, EngineSettings(), per_device=2, workers=2
    )
