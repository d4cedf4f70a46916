from __future__ import annotations

import PIL.features
import pytest

from labelmill.core.errors import ErrorCode, JobError
from labelmill.images.decode import decode_image
from labelmill.images.sniff import sniff
from tests.support.images import encoded, picture


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF"])
def test_a_file_of_each_format_is_told_by_its_first_bytes(format: str) -> None:  # noqa: A002
    if format == "AVIF" and not PIL.features.check("avif"):
        pytest.skip("this build of Pillow has no AVIF")

    assert sniff(encoded(picture(), format)) == format


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8",
        b"<!doctype html><img src='cat.png'>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"\n\x89PNG\r\n\x1a\n",
        b"RIFF\0\0\0\0WAVE",
        b"\0\0\0\x20ftypisom",
        b"P7\nWIDTH 1\n",
        b"PK\x03\x04",
        b"\x1f\x8b\x08",
        b"8BPS\0\1",
        b"\0\0\1\0",
        b"#define x_width 1\n",
        b"\0\0\0\x0cjP  \r\n\x87\n",
        b"FWS\x05",
    ],
)
def test_what_is_no_image_or_of_a_rarer_format_is_not_decoded(content: bytes) -> None:
    assert sniff(content) is None
    with pytest.raises(JobError) as caught:
        decode_image(content + bytes(1000), 1000)
    assert caught.value.code == ErrorCode.IMAGE_UNREADABLE
