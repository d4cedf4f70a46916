"""The parts, one after the other: one that fails is noted, and ends none of the others."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from functools import partial

import torch

from labelmill.bench.device.session import Session

Part = Callable[[Session], None]


def run_parts(parts: Mapping[str, Part], session: Session) -> list[str]:
    """Run all; the report is written after each.

    Returns:
        the names of those that failed.

    Raises:
        KeyboardInterrupt: as the report says too, which has what was found until then.
    """
    failed = []
    for name, part in parts.items():
        session.log(f"── {name} ──")
        session.limit.begin_part()
        try:
            if not succeeds(name, partial(part, session), session):
                failed.append(name)
        except KeyboardInterrupt:
            session.note(f"INTERRUPTED in {name}")
            raise
        finally:
            session.save()
        _free_memory()
    return failed


def succeeds(name: str, action: Callable[[], object], session: Session) -> bool:
    """Run something that may fail; an error is noted under a name."""
    try:
        action()
    except Exception as error:
        session.note(f"{name} FAILED: {_in_a_line(error)}")
        return False
    return True


def _in_a_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])


def _free_memory() -> None:
    """Let the next part have the device to itself; engines refer to themselves."""
    gc.collect()
    torch.cuda.empty_cache()
