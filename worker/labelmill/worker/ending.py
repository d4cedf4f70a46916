"""Ending: what signals do to a worker that does not take jobs yet, and which of them never do."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

from labelmill.core import exit_codes
from labelmill.core.closing import Closeable

_EXIT_CODES = {
    signal.SIGTERM: 0,
    signal.SIGINT: exit_codes.INTERRUPTED,
    signal.SIGQUIT: exit_codes.FAILURE,
}
# SIGTERM always ends a worker.
_MAY_BE_IGNORED = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
_CLOSING_SECONDS = 1.0


class EarlyEnd:
    """Ends the process at a signal, whatever its main thread is at, until :meth:`leave_to_celery`.

    Loading a model or waiting for a server may keep the main thread for minutes outside of Python,
    where no handler runs; and process 1 of a container hears no signal without a handler.

    To be made in the main thread, before anything changes what signals do.

    Attributes:
        presence: is closed before the process ends.
    """

    def __init__(self) -> None:
        self.presence: Closeable | None = None
        self._ignored = [
            number for number in _MAY_BE_IGNORED if signal.getsignal(number) is signal.SIG_IGN
        ]
        self._woken, waker = socket.socketpair()
        self._waker = waker
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        for number in _EXIT_CODES:
            if number not in self._ignored:
                signal.signal(number, lambda *_: None)  # the thread acts
        threading.Thread(target=self._run, name="early end", daemon=True).start()

    def leave_to_celery(self) -> None:
        """Leave signals to Celery, whose handlers are there by now; ignored ones stay ignored."""
        signal.set_wakeup_fd(-1)
        self._waker.close()
        for number in self._ignored:
            signal.signal(number, signal.SIG_IGN)

    def _run(self) -> None:
        while heard := self._woken.recv(1):
            exit_code = _EXIT_CODES.get(signal.Signals(heard[0]))
            if exit_code is not None:
                name = signal.Signals(heard[0]).name
                sys.stderr.write(f"{name} before the models were loaded: nothing was in hand\n")
                sys.stderr.flush()
                self._close()
                os._exit(exit_code)

    def _close(self) -> None:
        if self.presence is not None:
            # Redis may be silent.
            closing = threading.Thread(target=self.presence.close, daemon=True)
            closing.start()
            closing.join(_CLOSING_SECONDS)
