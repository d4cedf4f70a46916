"""A running model: how a worker runs one, for status, the heartbeat and the page."""

from __future__ import annotations

from typing_extensions import TypedDict  # comes with pydantic, which wants it before 3.12


class RunningModel(TypedDict):
    """How a worker runs one of its models; None for what its engine does not tell."""

    device: str
    #: ``float32``, ``bfloat16`` or ``float16``.
    dtype: str | None
    #: How texts share a pass: ``packed``, ``padded``, ``equal`` or ``alone``.
    layout: str | None
    #: How much one pass takes, with its unit.
    budget: str | None
    #: The most jobs of a batch.
    group_size: int
