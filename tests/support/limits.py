"""Commands within limits: of the account that they run as, and of what they may take."""

from __future__ import annotations

import os
import shutil

NOBODY = 12345
"""A user id without a name and without a home."""

# They may read what is ours (the interpreter may lie in root's home), and write nothing of it.
_READ = "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"
_OF_A_HOME = ("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME")


def can_be_nobody() -> bool:
    """Whether :func:`as_nobody` can be used."""
    return os.geteuid() == 0 and shutil.which("setpriv") is not None


def as_nobody(*command: str) -> tuple[str, ...]:
    """The command, run by an account without a name, a home or any rights to write."""
    account = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *_READ)
    without = (word for name in _OF_A_HOME for word in ("-u", name))
    return ("env", *without, "setpriv", *account, *command)


def with_address_space(size: int, *command: str) -> tuple[str, ...]:
    """The command, which may take so many bytes of virtual memory at most."""
    return ("sh", "-c", f'ulimit -v {size // 1024}; exec "$@"', "sh", *command)
