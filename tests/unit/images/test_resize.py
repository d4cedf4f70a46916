from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.image_transforms import center_crop

from labelmill.images.geometry import Geometry, Mode
from labelmill.images.levels import Decoded, Size
from labelmill.images.resize import resize_levels
from tests.support.images import picture

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


def levels(size: Size) -> np.ndarray:
    """Levels of a picture of this size."""
    return np.array(picture(size[1], size[0]))


@settings(max_examples=200, deadline=None)
@given(size=sizes, crop=sizes)
def test_the_crop_is_that_of_transformers(size: Size, crop: Size) -> None:
    source = levels(size)

    cropped = resize_levels(Decoded(source, size), Geometry(None, crop))

    expected = center_crop(np.moveaxis(source, -1, 0), crop, input_data_format="channels_first")
    np.testing.assert_array_equal(cropped.numpy(), expected)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(375, 500), (500, 375), (48, 64), (1, 300), (300, 1), (1, 1)])
@pytest.mark.parametrize("resized", [(224, 224), (32, 300), (224, 64)])
def test_resized_levels_are_those_of_pillow_but_for_a_few(
    mode: Mode, size: Size, resized: Size
) -> None:
    source = levels(size)

    ours = resize_levels(Decoded(source, size), Geometry(resized, None, mode))

    resample = {"bilinear": PIL.Image.Resampling.BILINEAR, "bicubic": PIL.Image.Resampling.BICUBIC}
    theirs = PIL.Image.fromarray(source).resize(resized[::-1], resample[mode])
    difference = np.abs(ours.numpy().astype(int) - np.moveaxis(np.asarray(theirs, int), -1, 0))
    assert difference.max() <= 2
    assert difference.mean() <= 0.5


@pytest.mark.parametrize("geometry", [Geometry(None, None), Geometry((20, 20), (10, 30))])
def test_the_result_is_bytes_that_lie_channel_by_channel(geometry: Geometry) -> None:
    resized = resize_levels(Decoded(levels((30, 40)), (30, 40)), geometry)

    assert resized.dtype == torch.uint8
    assert resized.shape[0] == 3
    assert resized.is_contiguous()


@settings(max_examples=200, deadline=None)
@given(
    resized=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    spare=st.tuples(st.floats(2, 9), st.floats(2, 9)),
    fraction=st.sampled_from([2, 4, 8]),
    missing=st.tuples(st.integers(0, 7), st.integers(0, 7)),
)
def test_a_fraction_is_resized_to_the_same_size_as_the_whole(
    resized: Size, spare: tuple[float, float], fraction: int, missing: tuple[int, int]
) -> None:
    rows, columns = (int(side * times) for side, times in zip(resized, spare, strict=True))
    size = (
        rows * fraction - min(missing[0], fraction - 1),
        columns * fraction - min(missing[1], fraction - 1),
    )
    decoded = Decoded(levels((rows, columns)), size, fraction)

    assert resize_levels(decoded, Geometry(resized, None)).shape == (3, *resized)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("fraction", [2, 4, 8])
@pytest.mark.parametrize("missing", [0, 1])
def test_a_fraction_looks_like_the_whole_to_its_last_column(
    mode: Mode, fraction: int, missing: int
) -> None:
    width = 80 * fraction - missing * (fraction - 1)
    stripes = (np.arange(width) * 24 // width % 2 * 255).astype(np.uint8)
    whole = np.broadcast_to(stripes[None, :, None], (40 * fraction, width, 3)).copy()
    reduced = np.array(PIL.Image.fromarray(whole).reduce(fraction))
    geometry = Geometry((20, 40), None, mode)

    ours = resize_levels(Decoded(reduced, whole.shape[:2], fraction), geometry)

    expected = resize_levels(Decoded(whole, whole.shape[:2]), geometry)
    difference = np.abs(ours.numpy().astype(int) - expected.numpy())
    assert difference.mean() <= 8  # by the proportions of the fraction, 18 and more
