"""Ending: the signals that end a command in good order."""

from __future__ import annotations

import signal


def end_by_signals() -> None:
    """Let SIGTERM, and a terminal that is closed, do what Ctrl-C does: raise KeyboardInterrupt.

    SIGTERM always does, in process 1 of a container, too; what was ignored when this process was
    started, by nohup say, stays ignored.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.default_int_handler)
