from __future__ import annotations

from collections.abc import Callable

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labelmill.images.affine import Affine, measure_affine

channels = st.lists(st.floats(0.01, 2), min_size=3, max_size=3)


def answering(
    change: Callable[[torch.Tensor], torch.Tensor],
) -> Callable[[PIL.Image.Image], torch.Tensor]:
    """A processor that does this to each image's levels, and nothing to its size."""
    return lambda image: change(torch.from_numpy(np.array(image)).permute(2, 0, 1).float())


def found(change: Callable[[torch.Tensor], torch.Tensor]) -> Affine:
    """The affine step of a processor that has one."""
    affine = measure_affine(answering(change))
    assert affine is not None
    return affine


IMAGE = torch.randint(0, 256, (2, 3, 5, 7), generator=torch.Generator().manual_seed(0)).byte()


@given(scale=channels, offset=channels)
def test_scale_and_offset_are_measured_for_each_channel(
    scale: list[float], offset: list[float]
) -> None:
    weight, bias = (torch.tensor(each)[:, None, None] for each in (scale, offset))

    affine = found(lambda levels: levels * weight - bias)

    torch.testing.assert_close(affine.apply(IMAGE), IMAGE.float() * weight - bias)


def test_flipped_channels_are_flipped() -> None:
    affine = found(lambda levels: levels.flip(0) / 255)

    torch.testing.assert_close(affine.apply(IMAGE), IMAGE.flip(1) / 255)


def test_a_border_around_the_image_is_not_measured() -> None:
    affine = found(lambda levels: torch.nn.functional.pad(levels, (9, 9, 9, 9), value=7.0))

    torch.testing.assert_close(affine.apply(IMAGE), IMAGE.float())


def test_the_numbers_are_turned_back_into_levels() -> None:
    affine = found(lambda levels: (levels.flip(0) / 255 - 0.5) / 0.25)

    torch.testing.assert_close(affine.invert(affine.apply(IMAGE)), IMAGE.flip(1).float())


@pytest.mark.parametrize(
    "change",
    [
        lambda levels: levels**0.5,
        lambda levels: levels.clamp(max=100),
        lambda levels: levels.mean(0, keepdim=True).expand(3, -1, -1),
        lambda levels: levels * 0,
        lambda levels: levels / 0,
    ],
    ids=["a root", "a limit", "grey", "nothing", "infinity"],
)
def test_what_is_not_affine_is_seen(change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    assert measure_affine(answering(change)) is None
