"""Fast images: near to ``transformers.pipeline``, by stated bounds, and with the same labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import transformers

from labelmill.engines.budget import BudgetFile
from labelmill.engines.image import ImageEngine
from labelmill.images.fetch import ImageFetcher
from labelmill.images.preprocess import ExactPreprocessor, FastPreprocessor, Preprocessor
from tests.support.answers import ALL, answers, image_engine, image_pipeline, opened, spec
from tests.support.checkpoints import IMAGE_SIZE, save_image_checkpoint
from tests.support.images import encoded, inline_job, turned

FAMILIES = ["vit", "deit", "beit", "swin", "convnext", "resnet", "mobilevit"]

#: How far a score may be from the pipeline's.
TOLERANCE = 0.03


def scene(width: int, height: int, seed: int, mode: str = "RGB") -> PIL.Image.Image:
    """Discs of plain and of ragged colour on a slope: edges, surfaces and fine structure."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    pixels = np.add.outer(
        rows / height * rng.uniform(60, 120) + columns / width * 60, rng.uniform(0, 60, 3)
    )
    for _ in range(12):
        radius = rng.uniform(0.08, 0.3) * min(width, height)
        distance = np.hypot(rows - rng.uniform(0, height), columns - rng.uniform(0, width))
        ragged = rng.normal(0, rng.choice([0, 25]), (height, width, 1))
        pixels = np.where((distance < radius)[..., None], rng.uniform(0, 255, 3) + ragged, pixels)
    return PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert(mode)


def jpeg(width: int, height: int, seed: int, **options: object) -> bytes:
    """The scene as a JPEG of good quality."""
    return encoded(scene(width, height, seed), "JPEG", quality=92, **options)


# Decoded whole: for what these models take, a fraction of the pixels would be too few.
WHOLE = {
    **{f"JPEG {seed}": jpeg(100 + 3 * seed, 75 + 2 * seed, seed) for seed in range(8)},
    "upright JPEG": jpeg(75, 100, 20),
    "progressive JPEG": jpeg(100, 75, 21, progressive=True),
    "greyscale JPEG": encoded(scene(100, 75, 22, "L"), "JPEG"),
    "CMYK JPEG": encoded(scene(100, 75, 23, "CMYK"), "JPEG"),
    "RGB PNG": encoded(scene(400, 300, 24)),
    "palette PNG": encoded(scene(100, 75, 25, "P")),
    "greyscale and alpha PNG": encoded(scene(100, 75, 26, "LA")),
    "16-bit PNG": encoded(PIL.Image.fromarray(np.asarray(scene(90, 70, 27, "L"), np.uint16) * 256)),
    "bilevel PNG": encoded(scene(100, 75, 28, "1")),
    "animated GIF": encoded(
        scene(100, 75, 29), "GIF", save_all=True, append_images=[scene(100, 75, 30)]
    ),
    "one pixel": encoded(scene(1, 1, 31)),
    "one column": encoded(scene(1, 300, 32)),
    "one strip": encoded(scene(640, 11, 33), "JPEG"),
    "odd sides": encoded(scene(33, 47, 34), "JPEG"),
    **{f"EXIF orientation {turn}": turned(turn) for turn in range(1, 9)},
}
# Decoded at a half, a quarter or an eighth.
SCALED = {
    f"large JPEG {seed}": jpeg(300 + 60 * seed, 280 + 70 * seed, 40 + seed) for seed in range(10)
}

families = pytest.mark.parametrize("family", FAMILIES)


def preprocessors(folder: Path) -> tuple[FastPreprocessor, ExactPreprocessor]:
    """Both ways from a file to what the model takes."""
    fast = image_engine(folder)._preprocessor
    exact = image_engine(folder, exact=True)._preprocessor
    assert isinstance(fast, FastPreprocessor)
    assert isinstance(exact, ExactPreprocessor)
    return fast, exact


def levels(preprocessor: Preprocessor, fast: FastPreprocessor, content: bytes) -> torch.Tensor:
    """What the model is given, in levels from 0 to 255."""
    batch = {name: each[None] for name, each in preprocessor.prepare(content).items()}
    return fast._affine.invert(preprocessor.finish(batch)["pixel_values"])


@families
@pytest.mark.parametrize(
    ("files", "most", "mean"), [(WHOLE, 16, 0.5), (SCALED, 16, 1.5)], ids=["whole", "scaled"]
)
def test_the_levels_are_within_the_stated_bounds(
    family: str, files: dict[str, bytes], most: float, mean: float, tmp_path: Path
) -> None:
    fast, exact = preprocessors(save_image_checkpoint(tmp_path, family))

    for name, content in files.items():
        ours, theirs = levels(fast, fast, content), levels(exact, fast, content)
        assert ours.shape == theirs.shape, name
        difference = (ours - theirs).abs()
        assert difference.max() <= most, name
        assert difference.mean() <= mean, name


@families
def test_labels_and_scores_are_near_those_of_the_pipeline(family: str, tmp_path: Path) -> None:
    folder = save_image_checkpoint(tmp_path, family)
    pipeline = image_pipeline(folder)
    files = [*WHOLE.values(), *SCALED.values()]

    ours = answers(image_engine(folder), [inline_job(content) for content in files])
    theirs = [pipeline(opened(content), top_k=ALL) for content in files]

    decided = 0
    for our, their in zip(ours, theirs, strict=True):
        scores = {each["label"]: each["score"] for each in their}
        assert {each["label"]: each["score"] for each in our} == pytest.approx(
            scores, abs=TOLERANCE
        )
        if their[0]["score"] - their[1]["score"] > 2 * TOLERANCE:
            decided += 1
            assert our[0]["label"] == their[0]["label"]
    assert decided > len(files) / 2


@pytest.mark.parametrize(
    "size", [{"height": IMAGE_SIZE, "width": IMAGE_SIZE}, {"shortest_edge": 32}]
)
def test_a_processor_that_is_not_covered_has_the_scores_of_the_pipeline(
    size: dict[str, int], tmp_path: Path
) -> None:
    folder = save_image_checkpoint(tmp_path, "convnext")
    lanczos = transformers.ViTImageProcessorPil(size=size, resample=PIL.Image.Resampling.LANCZOS)
    lanczos.save_pretrained(folder)
    pipeline = image_pipeline(folder)

    ours = answers(image_engine(folder), [inline_job(each) for each in SCALED.values()])

    for our, content in zip(ours, SCALED.values(), strict=True):
        scores = {each["label"]: each["score"] for each in pipeline(opened(content), top_k=ALL)}
        assert {each["label"]: each["score"] for each in our} == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("max_pixels", [100, 1_000_000])
def test_a_small_limit_on_pixels_keeps_no_model_from_being_loaded(
    max_pixels: int, tmp_path: Path
) -> None:
    folder = save_image_checkpoint(tmp_path / "vit", "vit")
    fetcher = ImageFetcher(None, (), max_bytes=1_000_000)
    engine = ImageEngine(spec("image-classification", folder), fetcher, max_pixels)

    engine.calibrate(BudgetFile(tmp_path / "budgets.json"))

    assert (tmp_path / "budgets.json").exists() == (max_pixels > 100)
