from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.image_transforms import center_crop

from tests.support.images import picture
from worker.images.geometry import Geometry, Mode, Size
from worker.images.resize import resize_levels

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


def levels(size: Size) -> np.ndarray:
    """Levels of a picture of this size."""
    return np.array(picture(size[1], size[0]))


@settings(max_examples=200, deadline=None)
@given(size=sizes, crop=sizes)
def test_the_crop_is_that_of_transformers(size: Size, crop: Size) -> None:
    source = levels(size)

    cropped = resize_levels(source, Geometry(None, crop), size)

    expected = center_crop(np.moveaxis(source, -1, 0), crop, input_data_format="channels_first")
    np.testing.assert_array_equal(cropped.numpy(), expected)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(375, 500), (500, 375), (48, 64), (1, 300), (300, 1), (1, 1)])
@pytest.mark.parametrize("resized", [(224, 224), (32, 300), (224, 64)])
def test_resized_levels_are_those_of_pillow_but_for_a_few(
    mode: Mode, size: Size, resized: Size
) -> None:
    source = levels(size)

    ours = resize_levels(source, Geometry(resized, None, mode), resized)

    resample = {"bilinear": PIL.Image.Resampling.BILINEAR, "bicubic": PIL.Image.Resampling.BICUBIC}
    theirs = PIL.Image.fromarray(source).resize(resized[::-1], resample[mode])
    difference = np.abs(ours.numpy().astype(int) - np.moveaxis(np.asarray(theirs, int), -1, 0))
    assert difference.max() <= 2
    assert difference.mean() <= 0.5


@pytest.mark.parametrize("geometry", [Geometry(None, None), Geometry((20, 20), (10, 30))])
def test_the_result_is_bytes_that_lie_channel_by_channel(geometry: Geometry) -> None:
    resized = resize_levels(levels((30, 40)), geometry, geometry.resized((30, 40)))

    assert resized.dtype == torch.uint8
    assert resized.shape[0] == 3
    assert resized.is_contiguous()
