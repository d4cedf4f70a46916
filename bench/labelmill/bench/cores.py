"""Cores: how many threads torch takes, and keeping a measurement on one core."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from labelmill.bench.errors import BenchmarkError


def use_threads(number: int) -> None:
    """Let torch take so many threads, here and in processes that are started from here."""
    torch.set_num_threads(number)
    os.environ["OMP_NUM_THREADS"] = str(number)


@contextmanager
def one_core() -> Iterator[None]:
    """Keep all threads of this process on one core, and torch to one thread.

    Raises:
        BenchmarkError: the system cannot do it.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise BenchmarkError("work a core is measured on Linux alone")
    threads, cores = torch.get_num_threads(), os.sched_getaffinity(0)
    torch.set_num_threads(1)
    _pin({min(cores)})
    try:
        yield
    finally:
        _pin(cores)
        torch.set_num_threads(threads)


def _pin(cores: set[int]) -> None:
    # New threads take over the affinity of the one that starts them.
    for task in Path("/proc/self/task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), cores)
        except ProcessLookupError:  # it ended meanwhile
            continue
