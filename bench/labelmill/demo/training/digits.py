"""The `digits` model: a small vision transformer that reads handwritten digits.

The images are scikit-learn's copy of the UCI "Optical Recognition of Handwritten Digits" test
set: 1797 digits of 8x8 pixels with 17 grey levels.
"""

import csv
import shutil
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits  # type: ignore[import-untyped, unused-ignore]
from sklearn.model_selection import (  # type: ignore[import-untyped, unused-ignore]
    StratifiedKFold,
    train_test_split,
)
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from labelmill.demo.training.common import (
    DATA,
    MODELS,
    Batch,
    Schedule,
    accuracy_as_shipped,
    fit,
    make_deterministic,
    save,
)

SIDE = 32
HELDOUT = 300
SEED = 20
FOLDS = 5
FOLDER = MODELS / "digits"
SCHEDULE = Schedule(
    steps=1500, batch_size=64, learning_rate=1.5e-3, weight_decay=0.05, label_smoothing=0.05
)


@dataclass(frozen=True)
class Digits:
    """Images as ink on an empty ground (0 none, 1 full), and the digit each one shows."""

    ink: Tensor
    labels: Tensor

    def pick(self, rows: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> "Digits":
        """The digits in these rows."""
        index = torch.from_numpy(rows)
        return Digits(self.ink[index], self.labels[index])


def train() -> float:
    """Write the held-out images, fit on all the others, save, and score the saved model."""
    digits, images = _load()
    fitted, heldout = _split(digits)
    truth = [str(label) for label in digits.labels[torch.from_numpy(heldout)].tolist()]
    shipped = [images[row] for row in heldout]
    _write_heldout(shipped, truth)
    model = _fit_model(digits.pick(fitted))
    processor = ViTImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    save(FOLDER, model, processor)
    paths = sorted(str(path) for path in (DATA / "digits").glob("*.png"))
    return accuracy_as_shipped("image-classification", FOLDER, paths, truth)


def validate() -> float:
    """Mean accuracy over folds of the training images: what the settings were chosen by."""
    digits, _ = _load()
    fitted, _ = _split(digits)
    digits = digits.pick(fitted)
    scores = []
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    for rows, others in folds.split(digits.ink, digits.labels):
        model = _fit_model(digits.pick(rows))
        check = digits.pick(others)
        with torch.no_grad():
            guesses = model(pixel_values=_as_pixels(check.ink)).logits.argmax(-1)
        scores.append((guesses == check.labels).double().mean().item())
        print(f"  fold accuracy {scores[-1]:.4f}")
    return float(sum(scores) / len(scores))


def _load() -> tuple[Digits, list[Image.Image]]:
    """All the digits, as tensors to fit on and as the images to ship."""
    source = load_digits()
    images = [_render(grid) for grid in source.images]
    ink = 1 - torch.from_numpy(np.stack([np.asarray(image) for image in images])).float() / 255
    return Digits(ink.unsqueeze(1), torch.from_numpy(source.target)), images


def _render(grid: "np.ndarray[tuple[int, int], np.dtype[np.float64]]") -> Image.Image:
    """Draw one 8x8 grid (0 to 16) as dark ink on white paper, smoothed to the model's size."""
    paper = np.round(255 * (1 - grid / 16)).astype(np.uint8)
    return Image.fromarray(paper).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def _split(digits: Digits) -> tuple[np.ndarray, np.ndarray]:
    """Rows to fit on and rows held out: fixed by the seed, the same share of every digit."""
    fitted, heldout = train_test_split(
        np.arange(len(digits.labels)),
        test_size=HELDOUT,
        stratify=digits.labels.numpy(),
        random_state=SEED,
    )
    return fitted, heldout


def _write_heldout(images: list[Image.Image], truth: list[str]) -> None:
    """Ship the held-out images as PNG files with their truth beside them."""
    folder = DATA / "digits"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with (DATA / "digits.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "image", "label"])
        for number, (image, label) in enumerate(zip(images, truth, strict=True), start=1):
            name = f"digit-{number:04d}"
            image.save(folder / f"{name}.png", optimize=True)
            writer.writerow([name, f"digits/{name}.png", label])


def _fit_model(digits: Digits) -> ViTForImageClassification:
    """Fit a new model on these digits, each seen slightly moved and bent every time."""
    generator = make_deterministic(SEED)
    names = [str(digit) for digit in range(10)]
    model = ViTForImageClassification(
        ViTConfig(
            image_size=SIDE,
            patch_size=8,
            hidden_size=96,
            num_hidden_layers=5,
            num_attention_heads=4,
            intermediate_size=256,
            hidden_dropout_prob=0.1,
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
            problem_type="single_label_classification",
        )
    )

    def next_batch() -> Batch:
        rows = torch.randint(len(digits.labels), (SCHEDULE.batch_size,), generator=generator)
        return {
            "pixel_values": _as_pixels(_distort(digits.ink[rows], generator)),
            "labels": digits.labels[rows],
        }

    fit(model, next_batch, SCHEDULE)
    return model


def _distort(ink: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate, slant, scale and shift each image a little, as another hand would have."""

    def draw(reach: float) -> Tensor:
        return (2 * torch.rand(len(ink), generator=generator) - 1) * reach

    angle, slant = draw(0.2), draw(0.2)
    wide, high = 1 + draw(0.12), 1 + draw(0.12)
    right, down = draw(0.15), draw(0.15)
    cos, sin = angle.cos(), angle.sin()
    moves = torch.stack(
        [
            torch.stack([cos * wide, (slant - sin) * high, right], dim=1),
            torch.stack([sin * wide, cos * high, down], dim=1),
        ],
        dim=1,
    )
    grid = affine_grid(moves, list(ink.shape), align_corners=False)
    return grid_sample(ink, grid, align_corners=False)


def _as_pixels(ink: Tensor) -> Tensor:
    """What the saved image processor makes of an image: three equal channels from -1 to 1."""
    return (1 - 2 * ink).expand(-1, 3, -1, -1)
