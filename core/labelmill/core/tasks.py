"""The tasks: what a model does, by the Hub's pipeline tags, and what it reads."""

from __future__ import annotations

from enum import StrEnum


class InputKind(StrEnum):
    """What a job holds, and a model reads."""

    TEXT = "text"
    IMAGE = "image"


class Task(StrEnum):
    """What a model does."""

    TEXT_CLASSIFICATION = "text-classification"
    IMAGE_CLASSIFICATION = "image-classification"

    @property
    def reads(self) -> InputKind:
        """What a job of it holds."""
        return _READS[self]


_READS = {
    Task.TEXT_CLASSIFICATION: InputKind.TEXT,
    Task.IMAGE_CLASSIFICATION: InputKind.IMAGE,
}
