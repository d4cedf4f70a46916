from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from labelmill.core.errors import ErrorCode, JobError
from labelmill.engines.image import ImageEngine
from tests.support.answers import answers, assert_same, image_engine
from tests.support.checkpoints import save_image_checkpoint
from tests.support.images import encoded, inline_job, picture

JOBS = [inline_job(encoded(picture(seed=seed), "JPEG")) for seed in range(11)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny image classifier."""
    return save_image_checkpoint(tmp_path_factory.mktemp("image"), "vit")


class SmallDevice:
    """A device with memory for so many images at once; it notes how many each pass had."""

    def __init__(self, engine: ImageEngine, room: int) -> None:
        self._model = engine._model
        self.dtype = engine._model.dtype
        self.room = room
        self.passes: list[int] = []

    def __call__(self, pixel_values: torch.Tensor) -> Any:
        self.passes.append(len(pixel_values))
        if len(pixel_values) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self._model(pixel_values=pixel_values)


@pytest.fixture
def on_small_device(folder: Path) -> Callable[[int], tuple[ImageEngine, SmallDevice]]:
    """An engine whose device has memory for so many images at once."""

    def make(room: int) -> tuple[ImageEngine, SmallDevice]:
        engine = image_engine(folder)
        device = SmallDevice(engine, room)
        engine._model = device  # type: ignore[assignment]
        return engine, device

    return make


def test_a_group_runs_in_one_pass(
    on_small_device: Callable[[int], tuple[ImageEngine, SmallDevice]],
) -> None:
    engine, device = on_small_device(100)

    answers(engine, JOBS)

    assert device.passes == [11]


@pytest.mark.parametrize("room", [1, 2, 3, 5, 10])
def test_a_group_too_large_for_the_memory_is_run_in_parts(
    room: int, folder: Path, on_small_device: Callable[[int], tuple[ImageEngine, SmallDevice]]
) -> None:
    engine, _ = on_small_device(room)

    assert_same(answers(engine, JOBS), answers(image_engine(folder), JOBS))


def test_what_fits_is_remembered(
    on_small_device: Callable[[int], tuple[ImageEngine, SmallDevice]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine, device = on_small_device(3)
    answers(engine, JOBS)
    assert device.passes == [11, 5, 2, 2, 2, 2, 2, 1]
    device.passes.clear()

    answers(engine, JOBS)

    assert device.passes == [2, 2, 2, 2, 2, 1]
    assert [record.args[-1] for record in caplog.records if record.args] == [5, 2]


def test_an_image_that_does_not_fit_alone_fails_alone(
    on_small_device: Callable[[int], tuple[ImageEngine, SmallDevice]],
) -> None:
    engine, device = on_small_device(0)

    outputs = engine.forward(engine.prepare(JOBS[:3]))

    assert [output.code for output in outputs if isinstance(output, JobError)] == [
        ErrorCode.OUT_OF_MEMORY
    ] * 3
    device.room = 1
    answers(engine, JOBS[:3])  # and the next ones run


def test_another_error_of_the_model_is_raised(
    on_small_device: Callable[[int], tuple[ImageEngine, SmallDevice]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, device = on_small_device(100)

    def fail(**_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(device, "_model", fail)

    with pytest.raises(RuntimeError, match="a bug"):
        engine.forward(engine.prepare(JOBS))


def test_bad_images_fail_alone(folder: Path) -> None:
    good, bad = JOBS[0], inline_job(b"no image")

    outputs = image_engine(folder).prepare([good, bad, good])

    assert [isinstance(each, JobError) for each in outputs] == [False, True, False]
