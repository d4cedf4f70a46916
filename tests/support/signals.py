"""Signals as a process inherits them, whatever the tests themselves were started by."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

# What a shell's background job, or nohup, ignores.
_NUMBERS = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


@contextmanager
def inheriting(handler: signal.Handlers) -> Iterator[None]:
    """What is started inside inherits this for SIGINT, SIGQUIT and SIGHUP.

    Parameters:
        handler: SIG_DFL, as in a terminal, or SIG_IGN, as for ``nohup labelmill up &``.
    """
    before = {number: signal.signal(number, handler) for number in _NUMBERS}
    try:
        yield
    finally:
        for number, each in before.items():
            signal.signal(number, each)
