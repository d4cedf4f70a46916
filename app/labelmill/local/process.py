"""Child processes: how they are started, and how they ended."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

# Below the ports that systems give to outgoing connections (from 32768 on Linux). While a server
# is down nobody then gets its port by chance, not even a client that tries to connect to it.
_PORTS = range(20000, 30000)

_LAUNCHER = Path(__file__).with_name("launch.py")


class User(NamedTuple):
    """An account to run a server under."""

    uid: int
    gid: int


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens at this moment."""
    while True:
        port = random.choice(_PORTS)  # noqa: S311 - no secret
        with socket.socket() as candidate:
            # As the servers do: a port with connections that linger from before is free.
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def spawn(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    stop_signal: signal.Signals,
    user: User | None = None,
    cwd: str | None = None,
    output: BinaryIO | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own; it gets ``stop_signal`` when this process dies.

    In a session of its own, since a Ctrl-C on the terminal is for us: we stop our workers first
    and the servers last.

    Parameters:
        user: the account to run it under, if not ours.
        cwd: the folder to run it in, if not ours.
        output: where what it prints goes; None for where ours goes.
        pass_fds: the file descriptors that it inherits.
    """
    return subprocess.Popen(  # noqa: S603 - the caller's program
        [*launcher(user, parent_death(stop_signal)), *map(str, command)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        cwd=cwd,
        env=env,
        pass_fds=pass_fds,
        start_new_session=True,
    )


def described(exit_code: int) -> str:
    """How a process ended, in words.

    Parameters:
        exit_code: as :mod:`subprocess` has it: negative for a signal.
    """
    if exit_code < 0:
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"ended with exit code {exit_code}"


def launcher(user: User | None, death: str = "-") -> list[str]:
    """The words before a command that make it run as ``user``."""
    account = f"{user.uid}:{user.gid}" if user else "-"
    return [sys.executable, "-I", "-S", str(_LAUNCHER), account, death]


def parent_death(stop_signal: signal.Signals) -> str:
    """The word that makes :func:`launcher` send ``stop_signal`` when this process dies."""
    # Linux only. And Linux means the thread, not the process: a server that was started from a
    # thread would end with it, so there we rely on the exit handler alone.
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return "-"
    return f"{os.getpid()}:{int(stop_signal)}"


def exited_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for a process to end; whether it did."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def tail(log: Path, characters: int = 2000) -> str:
    """The last lines of a log, whole ones."""
    text = log.read_text(errors="replace")
    return text if len(text) <= characters else text[-characters:].partition("\n")[2].strip()
