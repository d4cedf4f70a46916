"""Whatever is uploaded becomes an image within the limits, or an error of the job."""

from __future__ import annotations

import random
from functools import cache

import PIL.features
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelmill.core.errors import ErrorCode, JobError
from labelmill.images.decode import decode_image, decode_levels
from tests.support.images import encoded, picture, turned

MAX_PIXELS = 10_000
CODES = {ErrorCode.IMAGE_UNREADABLE, ErrorCode.IMAGE_TOO_LARGE}

FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"]
if PIL.features.check("avif"):
    FORMATS.append("AVIF")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


@cache
def originals(format: str) -> list[bytes]:  # noqa: A002
    """Files of a format: plain, grey, and what else it has."""
    files = [encoded(picture(), format), encoded(picture(mode="L"), format)]
    if format == "JPEG":
        files += [turned(6), encoded(picture(), format, progressive=True)]
        files.append(encoded(picture(mode="CMYK"), format))
    if format in {"GIF", "TIFF", "WEBP"}:
        more = {"save_all": True, "append_images": [picture(seed=1), picture(seed=2)]}
        files.append(encoded(picture(), format, **more))
    if format == "TIFF":
        files += [encoded(picture(), format, compression=kind) for kind in ("tiff_lzw", "jpeg")]
    return files


def mutated(content: bytes, source: random.Random) -> bytes:
    """The file with a few bytes changed, left out, doubled, put in, or its end cut off."""
    changed = bytearray(content)
    for _ in range(source.randint(1, 6)):
        # Headers are at the start, where damage does the most.
        end = source.choice([64, 512, len(changed)])
        start = source.randrange(max(1, min(end, len(changed))))
        length = source.choice([1, 1, 2, 4, 16, 256])
        piece = changed[start : start + length]
        change = source.randrange(6)
        if change == 0:
            changed[start : start + length] = source.randbytes(len(piece))
        elif change == 1:
            changed[start : start + length] = source.choice([b"\0", b"\xff"]) * len(piece)
        elif change == 2:
            del changed[start : start + length]
        elif change == 3:
            changed[start:start] = piece
        elif change == 4:
            changed[start:start] = source.randbytes(length)
        else:
            del changed[max(start, 32) :]
    return bytes(changed)


def assert_decoded_or_refused(content: bytes) -> None:
    """Both ways of decoding keep to the limits, and raise nothing else."""
    try:
        image = decode_image(content, MAX_PIXELS)
        assert image.mode == "RGB"
        assert image.width * image.height <= MAX_PIXELS
    except JobError as error:
        assert error.code in CODES  # noqa: PT017
    try:
        decoded = decode_levels(content, MAX_PIXELS, lambda size: (size[0] // 4, size[1] // 4))
        assert decoded.levels.shape[0] * decoded.levels.shape[1] <= MAX_PIXELS
    except JobError as error:
        assert error.code in CODES  # noqa: PT017


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FORMATS), st.integers(0, 10), st.randoms(use_true_random=False))
def test_a_file_with_damage(format: str, index: int, source: random.Random) -> None:  # noqa: A002
    files = originals(format)
    assert_decoded_or_refused(mutated(files[index % len(files)], source))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(FORMATS), st.integers(0, 64), st.binary(max_size=512))
def test_noise_after_the_beginning_of_a_file(
    format: str,  # noqa: A002
    kept: int,
    noise: bytes,
) -> None:
    assert_decoded_or_refused(originals(format)[0][:kept] + noise)
