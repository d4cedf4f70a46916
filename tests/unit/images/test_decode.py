from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelmill.core.errors import ErrorCode, JobError
from labelmill.images.decode import decode_image, decode_levels
from tests.support.images import encoded, picture, turned

MAX_PIXELS = 1_000_000

# Each has a size far beyond the limit in a few bytes.
HUGE = 5_000


def png_bomb() -> bytes:
    """A PNG whose header promises more than follows."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", HUGE, HUGE, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data)


def gif_bomb(screen: int, frame: int, disposal: int) -> bytes:
    """A GIF whose screen or whose first frame is huge."""
    header = b"GIF89a" + struct.pack("<HHBBB", screen, screen, 0x80, 0, 0) + bytes(6)
    control = b"\x21\xf9\x04" + bytes([disposal << 2, 0, 0, 0, 0])
    descriptor = b"," + struct.pack("<HHHHB", 0, 0, frame, frame, 0)
    return header + control + descriptor + b"\x02\x02\x4c\x01\x00;"


def tiff_bomb(size: int, tile: int) -> bytes:
    """A packed TIFF whose one tile is huge."""
    data = b"\x80\x00\x20\x00"
    entries = [
        (256, size),
        (257, size),
        (258, 8),
        (259, 32773),
        (262, 1),
        (277, 1),
        (322, tile),
        (323, tile),
        (324, 8),
        (325, len(data)),
    ]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    start = struct.pack("<I", 8 + len(data))
    return b"II*\0" + start + data + struct.pack("<H", len(entries)) + directory + bytes(4)


def jpeg_bomb() -> bytes:
    """A JPEG whose header promises more than follows."""
    content = encoded(picture(), "JPEG")
    frame = content.index(b"\xff\xc0") + 5  # behind the marker, the length and the precision
    return content[:frame] + struct.pack(">HH", HUGE, HUGE) + content[frame + 4 :]


BOMBS = {
    "JPEG": jpeg_bomb(),
    "PNG": png_bomb(),
    "PPM": b"P6 %d %d 255\n" % (HUGE, HUGE),
    "BMP": b"BM" + struct.pack("<IIIIiiHH", 60, 0, 54, 40, HUGE, HUGE, 1, 24) + bytes(30),
    "GIF with a huge screen": gif_bomb(HUGE, 1, disposal=0),
    "GIF with a huge frame": gif_bomb(1, HUGE, disposal=0),
    "GIF with a huge frame to dispose of": gif_bomb(1, HUGE, disposal=2),
    "TIFF": tiff_bomb(HUGE, 16),
    "TIFF with a huge tile": tiff_bomb(16, HUGE),
}


def refusal(content: bytes, max_pixels: int = MAX_PIXELS) -> JobError:
    """The error that a file is refused with, whichever way it is decoded."""
    with pytest.raises(JobError) as exactly:
        decode_image(content, max_pixels)
    with pytest.raises(JobError) as fast:
        decode_levels(content, max_pixels, whole)
    assert (fast.value.code, fast.value.message) == (exactly.value.code, exactly.value.message)
    return fast.value


def whole(size: tuple[int, int]) -> tuple[int, int]:
    """Of every image, all its pixels."""
    return size


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_each_mode_becomes_rgb(mode: str) -> None:
    source = picture(mode=mode)

    image = decode_image(encoded(source), MAX_PIXELS)

    assert image.mode == "RGB"
    assert image.tobytes() == source.convert("RGB").tobytes()


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "F", "I;16"])
def test_the_modes_of_a_tiff_become_rgb(mode: str) -> None:
    source = PIL.Image.new(mode, (8, 6))

    image = decode_image(encoded(source, "TIFF"), MAX_PIXELS)

    assert (image.mode, image.size) == ("RGB", (8, 6))


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_of_grey_are_scaled_and_not_cut_off(format: str) -> None:  # noqa: A002
    steps = np.arange(256, dtype=np.uint16).reshape(16, 16)
    file = encoded(PIL.Image.fromarray(steps * 257), format)

    exactly = np.asarray(decode_image(file, MAX_PIXELS))
    fast = decode_levels(file, MAX_PIXELS, whole).levels

    assert np.array_equal(exactly, np.stack([steps] * 3, axis=-1))
    assert np.array_equal(fast, exactly)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_of_grey_are_turned_upright(format: str) -> None:  # noqa: A002
    steps = np.arange(6, dtype=np.uint16).reshape(2, 3) * 257
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    file = encoded(PIL.Image.fromarray(steps), format, exif=exif)

    image = decode_image(file, MAX_PIXELS)

    assert np.array_equal(np.asarray(image)[..., 0], np.rot90(steps // 257, -1))


@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP", "TIFF", "PPM", "JPEG"])
def test_each_format_is_read(format: str) -> None:  # noqa: A002
    image = decode_image(encoded(picture(), format), MAX_PIXELS)

    assert np.abs(np.asarray(image, int) - np.asarray(picture(), int)).mean() < 8


@pytest.mark.parametrize("format", ["WEBP", "AVIF"])
def test_the_formats_that_not_every_pillow_has_are_read(format: str) -> None:  # noqa: A002
    if format not in PIL.Image.SAVE:
        pytest.skip(f"this Pillow has no {format}")

    image = decode_image(encoded(picture(), format), MAX_PIXELS)

    assert image.size == picture().size


def test_of_an_animation_the_first_frame_is_read() -> None:
    first, second = PIL.Image.new("RGB", (8, 8), "red"), PIL.Image.new("RGB", (8, 8), "blue")
    animation = encoded(first, "GIF", save_all=True, append_images=[second])

    assert decode_image(animation, MAX_PIXELS).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_image_is_made_upright(orientation: int) -> None:
    width, height = picture().size

    image = decode_image(turned(orientation), MAX_PIXELS)

    assert image.size == ((width, height) if orientation < 5 else (height, width))


def test_an_image_is_turned_by_the_angle_that_its_exif_says() -> None:
    upright = picture()

    image = decode_image(turned(6, "PNG"), MAX_PIXELS)

    assert image.tobytes() == upright.transpose(PIL.Image.Transpose.ROTATE_270).tobytes()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_exif_that_makes_no_sense_is_no_reason_to_refuse() -> None:
    file = encoded(picture(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")

    assert decode_image(file, MAX_PIXELS).size == picture().size


def test_an_image_of_as_many_pixels_as_allowed_is_read() -> None:
    assert decode_image(encoded(picture(64, 48)), 64 * 48).size == (64, 48)


def test_an_image_of_more_pixels_is_refused_with_the_limit() -> None:
    error = refusal(encoded(picture(64, 48)), 64 * 48 - 1)

    assert error.code == ErrorCode.IMAGE_TOO_LARGE
    assert "3,071" in error.message


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_before_anything_is_decoded(
    bomb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, int]] = []

    def recording(make: Callable[..., Any]) -> Callable[..., Any]:
        def record(mode: str, size: tuple[int, int], *rest: Any) -> Any:
            made.append(size)
            return make(mode, size, *rest)

        return record

    monkeypatch.setattr("simplejpeg.decode_jpeg", lambda *given, **options: made.append((0, 0)))
    for name in ["fill", "new"]:  # what Pillow's plugins take memory for pixels with
        monkeypatch.setattr(PIL.Image.core, name, recording(getattr(PIL.Image.core, name)))

    error = refusal(BOMBS[bomb])

    assert error.code == ErrorCode.IMAGE_TOO_LARGE
    assert made == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        b"This is a letter, whatever its name says.",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    ],
    ids=repr,
)
def test_a_file_that_is_no_image_is_refused(content: bytes) -> None:
    error = refusal(content)

    assert error.code == ErrorCode.IMAGE_UNREADABLE
    assert "send JPEG, PNG" in error.message


@pytest.mark.parametrize("format", ["ICO", "TGA", "PCX", "EPS", "PDF"])
def test_the_rarer_formats_are_not_tried(format: str) -> None:  # noqa: A002
    assert refusal(encoded(picture(), format)).code == ErrorCode.IMAGE_UNREADABLE


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP", "TIFF", "PPM", "JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_file_that_ends_early_is_refused(format: str, share: float) -> None:  # noqa: A002
    if format not in PIL.Image.SAVE:
        pytest.skip(f"this Pillow has no {format}")
    content = encoded(picture(400, 300), format)

    assert refusal(content[: int(len(content) * share)]).code == ErrorCode.IMAGE_UNREADABLE


def test_a_damaged_file_is_told_from_an_unknown_one() -> None:
    content = encoded(picture(400, 300))

    assert "damaged" in refusal(content[: len(content) // 2]).message


LIKE = {
    "RGB PNG": encoded(picture()),
    "palette PNG": encoded(picture(mode="P")),
    "RGBA PNG": encoded(picture(mode="RGBA")),
    "JPEG": encoded(picture(), "JPEG"),
    "fine JPEG": encoded(picture(), "JPEG", quality=98, subsampling=0),
    "progressive JPEG": encoded(picture(333, 251), "JPEG", progressive=True),
    "greyscale JPEG": encoded(picture(mode="L"), "JPEG"),
    "JPEG in RGB": encoded(picture(), "JPEG", keep_rgb=True),
    "CMYK JPEG": encoded(picture(mode="CMYK"), "JPEG"),
    "JPEG of one pixel": encoded(picture(1, 1), "JPEG"),
    "JPEG of odd sides": encoded(picture(333, 251), "JPEG"),
    "JPEG with bytes behind it": encoded(picture(), "JPEG") + b"behind",
    "MPO": encoded(picture(), "MPO", save_all=True, append_images=[picture(seed=1)]),
    **{f"JPEG of orientation {turn}": turned(turn) for turn in range(1, 9)},
    "JPEG of no known orientation": turned(9),
    "PNG of orientation 6": turned(6, "PNG"),
}


@pytest.mark.parametrize("kind", LIKE)
def test_at_its_whole_size_a_file_has_the_same_levels_in_both_ways(kind: str) -> None:
    image = decode_image(LIKE[kind], MAX_PIXELS)

    decoded = decode_levels(LIKE[kind], MAX_PIXELS, whole)

    assert decoded.size == (image.height, image.width)
    np.testing.assert_array_equal(decoded.levels, np.asarray(image))


def test_of_a_jpeg_of_which_less_is_needed_a_fraction_is_decoded() -> None:
    decoded = decode_levels(encoded(picture(402, 302), "JPEG"), MAX_PIXELS, lambda _: (100, 100))

    assert decoded.size == (302, 402)
    assert decoded.levels.shape == (151, 201, 3)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_jpeg_is_decoded_whole(orientation: int) -> None:
    decoded = decode_levels(turned(orientation), MAX_PIXELS, lambda _: (4, 4))

    assert decoded.levels.shape[:2] == decoded.size


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=100, deadline=None)
@given(
    format=st.sampled_from(["PNG", "GIF", "BMP", "TIFF", "JPEG"]),
    place=st.floats(0, 1, exclude_max=True),
    noise=st.binary(min_size=1, max_size=8),
)
def test_damage_anywhere_gives_an_image_or_an_error_of_the_job(
    format: str,  # noqa: A002
    place: float,
    noise: bytes,
) -> None:
    content = bytearray(encoded(picture(), format))
    start = int(len(content) * place)
    content[start : start + len(noise)] = noise

    codes = []
    for decode in (decode_image, lambda *given: decode_levels(*given, whole)):
        try:
            decode(bytes(content), MAX_PIXELS)
            codes.append(None)
        except JobError as error:
            codes.append(error.code)

    assert codes[0] == codes[1]
