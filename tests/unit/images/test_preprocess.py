from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from labelmill.core.errors import ErrorCode, JobError
from labelmill.images.preprocess import (
    ExactPreprocessor,
    FastPreprocessor,
    Preprocessor,
    make_preprocessor,
)
from tests.support.answers import spec
from tests.support.images import encoded, picture

USUAL = transformers.ViTImageProcessorPil(size={"height": 32, "width": 32})
TO_AN_EDGE = transformers.ConvNextImageProcessorPil(size={"shortest_edge": 32})
UNUSUAL = transformers.ViTImageProcessorPil(resample=1)


def made(processor: Any, folder: Path, max_pixels: int = 1_000_000, **entry: Any) -> Preprocessor:
    """The preprocessor of a model with this processor."""
    table = spec("image-classification", folder, **entry)
    return make_preprocessor(table, processor, max_pixels, torch.device("cpu"))


def test_a_usual_processor_is_done_faster(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert isinstance(made(USUAL, tmp_path), FastPreprocessor)
    assert caplog.text == ""


def test_an_unusual_processor_is_taken_itself_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(made(UNUSUAL, tmp_path), ExactPreprocessor)
    [record] = caplog.records
    assert "ViTImageProcessorPil" in record.getMessage()


def test_if_asked_for_the_processor_is_taken_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(made(USUAL, tmp_path, exact=True), ExactPreprocessor)
    assert caplog.text == ""


def test_up_to_the_device_an_image_is_bytes(tmp_path: Path) -> None:
    fast = made(USUAL, tmp_path)

    prepared = fast.prepare(encoded(picture(500, 400), "JPEG"))
    batch = {name: tensor[None] for name, tensor in prepared.items()}

    assert {name: (each.dtype, each.shape) for name, each in prepared.items()} == {
        "pixel_values": (torch.uint8, (3, 32, 32))
    }
    assert fast.finish(batch)["pixel_values"].dtype == torch.float32


@pytest.mark.parametrize("exact", [True, False])
def test_an_image_that_is_too_large_is_refused(exact: bool, tmp_path: Path) -> None:
    preprocessor = made(USUAL, tmp_path, max_pixels=99, exact=exact)

    with pytest.raises(JobError) as caught:
        preprocessor.prepare(encoded(picture(10, 10), "JPEG"))

    assert caught.value.code == ErrorCode.IMAGE_TOO_LARGE


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_a_strip_that_would_become_too_large_is_refused(
    format: str,  # noqa: A002
    tmp_path: Path,
) -> None:
    preprocessor = made(TO_AN_EDGE, tmp_path, max_pixels=30_000)
    preprocessor.prepare(encoded(picture(20, 1), format))

    with pytest.raises(JobError) as caught:
        preprocessor.prepare(encoded(picture(2000, 1), format))

    assert caught.value.code == ErrorCode.IMAGE_TOO_LARGE
    assert "crop it" in caught.value.message
