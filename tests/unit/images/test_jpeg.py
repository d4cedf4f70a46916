from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelmill.images.jpeg import decode_jpeg
from tests.support.images import encoded, picture

PLAIN = encoded(picture(64, 48), "JPEG")


def test_the_levels_are_those_of_the_image() -> None:
    decoded = decode_jpeg(PLAIN, (48, 64), (48, 64))

    assert decoded is not None
    assert decoded.levels.dtype == np.uint8
    assert np.abs(decoded.levels.astype(int) - np.asarray(picture(64, 48), int)).mean() < 8


@settings(max_examples=50, deadline=None)
@given(
    size=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    needed=st.tuples(st.integers(1, 250), st.integers(1, 250)),
)
def test_never_less_than_needed_is_decoded(size: tuple[int, int], needed: tuple[int, int]) -> None:
    content = encoded(picture(size[1], size[0]), "JPEG")

    decoded = decode_jpeg(content, size, needed)

    assert decoded is not None
    height, width = decoded.levels.shape[:2]
    assert (height, width) == tuple(-(-side // decoded.fraction) for side in size)
    if decoded.fraction > 1:
        assert height >= needed[0]
        assert width >= needed[1]


@pytest.mark.parametrize(
    ("needed", "fraction"),
    [
        ((301, 10), 1),
        ((300, 10), 2),
        ((150, 200), 4),
        ((1, 1), 8),
    ],
)
def test_the_smallest_fraction_that_is_enough_is_decoded(
    needed: tuple[int, int], fraction: int
) -> None:
    decoded = decode_jpeg(encoded(picture(800, 600), "JPEG"), (600, 800), needed)

    assert decoded is not None
    assert (decoded.fraction, decoded.size) == (fraction, (600, 800))
    assert decoded.levels.shape == (600 // fraction, 800 // fraction, 3)


def test_a_fraction_looks_like_the_whole() -> None:
    source = picture(800, 600)

    decoded = decode_jpeg(encoded(source, "JPEG"), (600, 800), (150, 200))

    reduced = np.asarray(source.resize((200, 150), PIL.Image.Resampling.BOX), int)
    assert decoded is not None
    assert np.abs(decoded.levels.astype(int) - reduced).mean() < 4


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no image",
        encoded(picture()),
        PLAIN[: len(PLAIN) // 2],
        PLAIN[:-2],
        encoded(picture(mode="CMYK"), "JPEG"),
    ],
    ids=["empty", "text", "PNG", "half", "no end", "CMYK"],
)
def test_what_is_in_doubt_is_left_to_another_decoder(content: bytes) -> None:
    assert decode_jpeg(content, (48, 64), (48, 64)) is None


def test_a_file_of_another_size_than_was_read_is_left_to_another_decoder() -> None:
    assert decode_jpeg(PLAIN, (64, 48), (64, 48)) is None
