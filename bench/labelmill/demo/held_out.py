"""The held-out inputs: what the demo's models have not seen, and what it is."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from labelmill.client import NewJob

FOLDER = Path(__file__).parent
MODELS_FILE = FOLDER / "models.toml"
DATA = FOLDER / "data"


@dataclass(frozen=True)
class HeldOut:
    """Inputs that a model has not seen in training, and what they are."""

    model: str
    jobs: list[NewJob]
    truth: dict[str, str]
    shown: dict[str, str]


def texts() -> HeldOut:
    """Messages, by their topics."""
    rows = _rows(DATA / "topics_heldout.csv")
    return HeldOut(
        "topics",
        [NewJob(id=row["id"], text=row["text"]) for row in rows],
        {row["id"]: row["label"] for row in rows},
        {row["id"]: row["text"] for row in rows},
    )


def digits() -> HeldOut:
    """Pictures of digits."""
    rows = _rows(DATA / "digits.csv")
    return HeldOut(
        "digits",
        [NewJob(id=row["id"], image=row["image"]) for row in rows],
        {row["id"]: row["label"] for row in rows},
        {row["id"]: row["image"] for row in rows},
    )


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
