from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import ViTImageProcessorPil

from labelmill.images.geometry import Geometry
from labelmill.images.levels import Decoded
from labelmill.images.recipe import MAX_DIFFERENCE, MEAN_DIFFERENCE, find_recipe
from labelmill.images.resize import resize_levels
from tests.support.images import picture

SQUARE = {"height": 224, "width": 224}
EDGE = {"shortest_edge": 224}

COVERED: list[tuple[str, dict[str, Any], Geometry]] = [
    ("ViT", {}, Geometry((224, 224), None, "bilinear")),
    ("ViT", {"size": {"height": 64, "width": 96}}, Geometry((64, 96), None, "bilinear")),
    ("ViT", {"do_resize": False}, Geometry(None, None)),
    ("ViT", {"do_rescale": False}, Geometry((224, 224), None, "bilinear")),
    ("ViT", {"do_normalize": False}, Geometry((224, 224), None, "bilinear")),
    ("Beit", {}, Geometry((224, 224), None, "bicubic")),
    ("DeiT", {}, Geometry((256, 256), (224, 224), "bicubic")),
    (
        "DeiT",
        {"crop_size": {"height": 300, "width": 99}},
        Geometry((256, 256), (300, 99), "bicubic"),
    ),
    ("ConvNext", {"size": EDGE}, Geometry(256, (224, 224), "bicubic")),
    ("ConvNext", {"size": EDGE, "crop_pct": 0.95}, Geometry(235, (224, 224), "bicubic")),
    ("ConvNext", {"size": {"shortest_edge": 384}}, Geometry((384, 384), None, "bicubic")),
    ("Bit", {}, Geometry(224, (224, 224), "bicubic")),
    ("CLIP", {}, Geometry(224, (224, 224), "bicubic")),
    ("EfficientNet", {}, Geometry((346, 346), None, "bicubic")),
    (
        "EfficientNet",
        {"rescale_offset": True, "rescale_factor": 1 / 127.5, "include_top": False},
        Geometry((346, 346), None, "bicubic"),
    ),
    ("Levit", {}, Geometry(256, (224, 224), "bicubic")),
    ("MobileNetV2", {}, Geometry(256, (224, 224), "bilinear")),
    ("MobileViT", {}, Geometry(224, (256, 256), "bicubic")),
    ("MobileViT", {"do_flip_channel_order": False}, Geometry(224, (256, 256), "bicubic")),
    ("PoolFormer", {}, Geometry(248, (224, 224), "bicubic")),
    ("Pvt", {}, Geometry((224, 224), None, "bicubic")),
    ("Siglip", {}, Geometry((224, 224), None, "bicubic")),
]


def processor(family: str, **options: Any) -> Any:
    """The image processor of a family."""
    return getattr(transformers, f"{family}ImageProcessorPil")(**options)


@pytest.mark.parametrize(("family", "options", "geometry"), COVERED)
def test_a_usual_processor_has_a_recipe_that_gives_its_answers(
    family: str, options: dict[str, Any], geometry: Geometry
) -> None:
    theirs = processor(family, **options)
    recipe = find_recipe(theirs)
    image = picture(300, 240, seed=5)

    assert recipe is not None
    assert recipe.geometry == geometry
    levels = resize_levels(Decoded(np.array(image), (240, 300)), geometry)
    ours = recipe.affine.apply(levels)
    expected = theirs(images=image, return_tensors="pt")["pixel_values"][0]
    difference = (recipe.affine.invert(ours) - recipe.affine.invert(expected)).abs()
    assert difference.max() <= MAX_DIFFERENCE
    assert difference.mean() <= MEAN_DIFFERENCE


@pytest.mark.parametrize(
    "theirs",
    [
        processor("ViT", resample=1),  # Lanczos
        processor("ViT", resample=0),  # nearest
        processor("ViT", do_rescale=False, do_normalize=False),  # bytes
        processor("ViT", size={"shortest_edge": 30, "longest_edge": 40}),
        processor("Perceiver"),
        processor("Siglip2"),
        object(),
    ],
    ids=["Lanczos", "nearest", "bytes", "two edges", "Perceiver", "SigLIP 2", "none"],
)
def test_an_unusual_processor_has_none(theirs: Any) -> None:
    assert find_recipe(theirs) is None


class Liar(ViTImageProcessorPil):
    """A processor that does otherwise than it says."""

    def __init__(self, **does: Any) -> None:
        super().__init__(do_center_crop=True, crop_size={"height": 200, "width": 200})
        self._does = does

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), **self._does}


def test_a_processor_that_does_what_it_says_has_a_recipe() -> None:
    assert find_recipe(Liar()) is not None


@pytest.mark.parametrize(
    "says",
    [
        {"resample": 3},
        {"size": {"height": 225, "width": 224}},
        {"size": {"height": 224, "width": 226}},
        {"size": {"shortest_edge": 230}},
        {"do_resize": False},
        {"do_center_crop": False},
        {"crop_size": {"height": 200, "width": 201}},
    ],
)
def test_a_processor_that_does_otherwise_than_it_says_has_none(says: dict[str, Any]) -> None:
    assert find_recipe(Liar(**says)) is None


def test_a_crop_that_is_one_pixel_off_is_seen() -> None:
    class Shifted(Liar):
        def __call__(self, *given: Any, **options: Any) -> Any:
            answer = super().__call__(*given, **options)
            return {"pixel_values": torch.roll(answer["pixel_values"], 1, dims=3)}

    assert find_recipe(Shifted()) is None
