"""Memory of the device: what to do when it runs out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

from labelmill.engines.faults import Fault, fault_of

Answer = TypeVar("Answer")


def within_memory(action: Callable[[], Answer]) -> Answer | None:
    """What an action answers; None if the device had too little memory for it.

    Raises:
        Exception: any other that the action raises.
    """
    try:
        return action()
    except Exception as error:
        if fault_of(error) is not Fault.OUT_OF_MEMORY:
            raise
    # Outside of the handler, where the error keeps nothing in memory any more.
    free()
    return None


def free() -> None:
    """Give back what PyTorch keeps of the device's memory, where PyTorch is in use at all."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.cuda.empty_cache()
