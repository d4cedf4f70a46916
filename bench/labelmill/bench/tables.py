"""Tables: the entries of ``models.toml`` for the models that are measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

ModelTable = Mapping[str, str | int]


def checkpoint_table(
    kind: str, checkpoint: Path, group_size: int, **settings: str | int
) -> ModelTable:
    """A model with weights; on the CPU unless the settings say otherwise.

    Parameters:
        kind: ``text`` or ``image``.
    """
    return {
        "task": f"{kind}-classification",
        "checkpoint": str(checkpoint),
        "device": "cpu",
        "group_size": group_size,
        **settings,
    }


def engine_table(engine: str, group_size: int) -> ModelTable:
    """A model of :mod:`labelmill.bench.engines`, which has no weights."""
    return {
        "task": "text-classification",
        "checkpoint": ".",
        "engine": f"labelmill.bench.engines:{engine}",
        "group_size": group_size,
    }
