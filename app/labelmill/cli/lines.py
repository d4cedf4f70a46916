"""Lines on standard output, which somebody may stop reading."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet_pipe() -> Iterator[None]:
    """End quietly when nobody reads standard output any more, as ``| head`` makes it."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_line(line: str) -> None:
    """Print a line; that nobody reads it, as ``| head`` makes it, ends nothing."""
    with quiet_pipe():
        sys.stdout.write(f"{line}\n")


def print_json(value: dict[str, Any]) -> None:
    """Print an object as a line of JSON, at once."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()
