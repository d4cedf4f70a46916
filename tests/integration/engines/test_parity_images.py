"""Exact images: labels and scores are those of ``transformers.pipeline`` on the same checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from tests.support.answers import (
    ALL,
    answers,
    assert_same,
    assert_varied,
    image_engine,
    image_pipeline,
    opened,
)
from tests.support.checkpoints import IMAGE_FAMILIES, save_image_checkpoint
from tests.support.images import encoded, inline_job, picture, turned, uri_job

FILES = {
    "RGB PNG": encoded(picture(seed=1)),
    "RGB JPEG": encoded(picture(seed=2), "JPEG"),
    "progressive JPEG": encoded(picture(seed=3), "JPEG", progressive=True),
    "CMYK JPEG": encoded(picture(mode="CMYK", seed=4), "JPEG"),
    "CMYK TIFF": encoded(picture(mode="CMYK", seed=5), "TIFF"),
    "greyscale PNG": encoded(picture(mode="L", seed=6)),
    "greyscale JPEG": encoded(picture(mode="L", seed=7), "JPEG"),
    "greyscale and alpha PNG": encoded(picture(mode="LA", seed=8)),
    "16-bit PNG": encoded(PIL.Image.fromarray(np.arange(48 * 64, dtype=np.uint16).reshape(48, 64))),
    "bilevel PNG": encoded(picture(mode="1", seed=9)),
    "RGBA PNG": encoded(picture(mode="RGBA", seed=10)),
    "palette PNG": encoded(picture(mode="P", seed=11)),
    "palette PNG with one transparent colour": encoded(picture(mode="P", seed=12), transparency=3),
    "palette GIF": encoded(picture(seed=13), "GIF"),
    "animated GIF": encoded(
        picture(seed=14), "GIF", save_all=True, append_images=[picture(seed=15)]
    ),
    "BMP": encoded(picture(seed=16), "BMP"),
    "PPM": encoded(picture(seed=17), "PPM"),
    "MPO": encoded(picture(seed=18), "MPO", save_all=True, append_images=[picture(seed=19)]),
    "one pixel": encoded(picture(1, 1, seed=20)),
    "one column": encoded(picture(1, 300, seed=21)),
    "one strip": encoded(picture(640, 11, seed=22)),
    "odd sides": encoded(picture(33, 47, seed=23)),
    "larger than the model's": encoded(picture(500, 400, seed=24), "JPEG"),
    **{f"EXIF orientation {turn}": turned(turn) for turn in range(1, 9)},
    "EXIF orientation in a PNG": turned(6, "PNG"),
}

families = pytest.mark.parametrize("family", IMAGE_FAMILIES)


@families
def test_a_group_of_images_has_the_scores_of_the_pipeline(family: str, tmp_path: Path) -> None:
    folder = save_image_checkpoint(tmp_path, family)
    pipeline = image_pipeline(folder)

    ours = answers(
        image_engine(folder, exact=True), [inline_job(content) for content in FILES.values()]
    )

    assert_varied(ours)
    assert_same(ours, [pipeline(opened(content), top_k=ALL) for content in FILES.values()])


@pytest.mark.parametrize(
    ("labels", "problem_type"),
    [
        (4, None),
        (4, "single_label_classification"),
        (4, "multi_label_classification"),
        (2, "regression"),
        (1, "regression"),
        (1, None),
    ],
)
def test_each_kind_of_problem_has_the_scores_of_the_pipeline(
    labels: int, problem_type: str | None, tmp_path: Path
) -> None:
    folder = save_image_checkpoint(tmp_path, "vit", labels=labels, problem_type=problem_type)
    pipeline = image_pipeline(folder)

    ours = answers(
        image_engine(folder, exact=True), [inline_job(content) for content in FILES.values()]
    )

    assert_varied(ours)
    assert_same(ours, [pipeline(opened(content), top_k=ALL) for content in FILES.values()])


@pytest.mark.parametrize("top_k", [1, 2, 4, 5, ALL])
def test_top_k_keeps_as_many_labels_as_the_pipeline(top_k: int, tmp_path: Path) -> None:
    folder = save_image_checkpoint(tmp_path, "vit", labels=4)
    pipeline = image_pipeline(folder)
    content = FILES["RGB PNG"]

    ours = answers(image_engine(folder, exact=True), [inline_job(content)], top_k)

    assert_same(ours, [pipeline(opened(content), top_k=top_k)])


def test_an_image_by_reference_has_the_scores_of_the_pipeline(tmp_path: Path) -> None:
    folder = save_image_checkpoint(tmp_path / "checkpoint", "vit")
    (tmp_path / "images").mkdir()
    file = tmp_path / "images" / "turned.jpg"
    file.write_bytes(FILES["EXIF orientation 6"])
    pipeline = image_pipeline(folder)

    ours = answers(image_engine(folder, root=file.parent, exact=True), [uri_job(file.name)])

    assert_same(ours, [pipeline(str(file), top_k=ALL)])


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_a_palette_with_degrees_of_transparency_has_the_scores_of_the_pipeline(
    tmp_path: Path,
) -> None:
    content = encoded(picture(mode="P"), transparency=bytes(range(0, 250, 10)))
    folder = save_image_checkpoint(tmp_path, "vit")
    pipeline = image_pipeline(folder)

    ours = answers(image_engine(folder, exact=True), [inline_job(content)])

    assert_same(ours, [pipeline(opened(content), top_k=ALL)])
