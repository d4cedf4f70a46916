from __future__ import annotations

from typing import Any

import PIL.Image
import pytest

from labelmill.images.geometry import Geometry, Size, geometries

SQUARE = {"height": 224, "width": 224}


@pytest.mark.parametrize(
    ("resize", "size", "resized"),
    [
        (None, (30, 40), (30, 40)),
        ((224, 200), (30, 40), (224, 200)),
        (224, (375, 500), (224, 298)),
        (224, (500, 375), (298, 224)),
        (224, (300, 300), (224, 224)),
        (32, (300, 1), (9600, 32)),
        (32, (11, 640), (32, 1861)),
    ],
)
def test_an_image_is_resized_to_a_size_or_to_its_shorter_edge(
    resize: Size | int | None, size: Size, resized: Size
) -> None:
    assert Geometry(resize, None).resized(size) == resized


@pytest.mark.parametrize(
    ("config", "first"),
    [
        ({"do_resize": True, "size": SQUARE, "resample": 2}, Geometry((224, 224), None)),
        (
            {"do_resize": True, "size": SQUARE, "resample": PIL.Image.Resampling.BICUBIC},
            Geometry((224, 224), None, "bicubic"),
        ),
        ({"do_resize": True, "size": {"shortest_edge": 224}}, Geometry(224, None)),
        (
            {
                "do_resize": True,
                "size": {"shortest_edge": 256},
                "do_center_crop": True,
                "crop_size": SQUARE,
            },
            Geometry(256, (224, 224)),
        ),
        (
            {"do_resize": True, "size": SQUARE, "do_center_crop": False, "crop_size": SQUARE},
            Geometry((224, 224), None),
        ),
        ({"do_resize": False, "size": SQUARE}, Geometry(None, None)),
        (
            {"do_resize": False, "do_center_crop": True, "crop_size": SQUARE},
            Geometry(None, (224, 224)),
        ),
    ],
)
def test_the_likeliest_geometry_is_the_plain_meaning(
    config: dict[str, Any], first: Geometry
) -> None:
    assert next(geometries(config)) == first


@pytest.mark.parametrize(
    "config",
    [
        {"do_resize": True, "size": SQUARE, "resample": PIL.Image.Resampling.LANCZOS},
        {"do_resize": True, "size": SQUARE, "resample": PIL.Image.Resampling.NEAREST},
        {"do_resize": True, "size": {"shortest_edge": 224, "longest_edge": 500}},
        {"do_resize": True, "size": {"max_height": 224, "max_width": 224}},
        {"do_resize": True},
    ],
)
def test_what_is_not_understood_has_no_geometry(config: dict[str, Any]) -> None:
    assert list(geometries(config)) == []
