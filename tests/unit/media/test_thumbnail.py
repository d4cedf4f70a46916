from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from labelmill.core.errors import ErrorCode, JobError
from labelmill.media import thumbnail as module
from labelmill.media.thumbnail import thumbnail


def a_file(image: PIL.Image.Image, kind: str, **options: object) -> bytes:
    output = io.BytesIO()
    image.save(output, kind, **options)
    return output.getvalue()


def opened(content: bytes) -> PIL.Image.Image:
    image = PIL.Image.open(io.BytesIO(content))
    assert image.format == "WEBP"
    return image


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_format_becomes_a_small_webp_of_the_same_shape(kind: str) -> None:
    content = a_file(PIL.Image.new("RGB", (900, 600), "teal"), kind)
    small = opened(thumbnail(content))
    assert small.size == (160, 107)
    red, green, blue = small.convert("RGB").getpixel((80, 50))
    assert (red < 20, 110 < green < 140, 110 < blue < 140) == (True, True, True)


def test_a_small_image_is_not_enlarged() -> None:
    assert opened(thumbnail(a_file(PIL.Image.new("L", (8, 8)), "PNG"))).size == (8, 8)


def test_a_photograph_is_turned_and_says_no_more_where_it_was_taken() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    content = a_file(PIL.Image.new("RGB", (400, 200)), "JPEG", exif=exif)
    small = opened(thumbnail(content, side=100))
    assert small.size == (50, 100)
    assert not small.getexif()


def test_transparency_is_kept() -> None:
    content = a_file(PIL.Image.new("RGBA", (10, 10), (255, 0, 0, 0)), "PNG")
    assert opened(thumbnail(content)).convert("RGBA").getpixel((5, 5))[3] == 0


def test_grey_of_sixteen_bits_is_scaled() -> None:
    content = a_file(PIL.Image.fromarray(np.full((9, 9), 0x8000, np.uint16)), "PNG")
    assert abs(opened(thumbnail(content)).convert("L").getpixel((4, 4)) - 128) <= 2


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"x" * 99])
def test_what_is_no_image_is_unreadable(content: bytes) -> None:
    with pytest.raises(JobError) as raised:
        thumbnail(content)
    assert raised.value.code is ErrorCode.IMAGE_UNREADABLE


def test_a_damaged_image_is_unreadable() -> None:
    content = a_file(PIL.Image.effect_noise((300, 300), 90), "PNG")
    with pytest.raises(JobError) as raised:
        thumbnail(content[: len(content) // 2])
    assert raised.value.code is ErrorCode.IMAGE_UNREADABLE


@pytest.mark.parametrize("width", [11, 100])
def test_too_many_pixels_are_refused_unread(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PIXELS", 100)
    content = a_file(PIL.Image.new("RGB", (width, 10)), "PNG")
    with pytest.raises(JobError) as raised:
        thumbnail(content)
    assert raised.value.code is ErrorCode.IMAGE_TOO_LARGE
