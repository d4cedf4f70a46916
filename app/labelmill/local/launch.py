"""Become a server: the few steps between being forked and being Redis or PostgreSQL.

Run as a script, as the child that is to become the server. Doing this in a program of its own,
and not in the ``preexec_fn`` of :mod:`subprocess`, is safe in a process that has threads.

usage: launch.py UID:GID|- PARENT:SIGNAL|- PROGRAM [ARGUMENT ...]
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(user: str, death: str, program: str, *arguments: str) -> None:
    if user != "-":
        _change_user(*map(int, user.split(":")))
    if death != "-":
        # After the change of user, which would take it back.
        _die_with(*map(int, death.split(":")))
    os.execv(program, [program, *arguments])  # noqa: S606 - the caller's program


def _change_user(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def _die_with(parent: int, number: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
