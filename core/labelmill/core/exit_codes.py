"""Exit codes of the commands: what a supervisor and a script may rely on."""

from __future__ import annotations

from labelmill.core.errors import ConfigurationError, DeviceLost, ServiceUnavailable

FAILURE = 1
USAGE = 2
#: Redis or the database is away, or a worker's heartbeat is.
UNAVAILABLE = 3
#: Done, but for rows that were rejected.
REJECTED = 4
#: The device is lost to this process, by no job's fault: a new process may find it again. The
#: code is EX_TEMPFAIL of sysexits.h.
DEVICE_LOST = 75
INTERRUPTED = 130


def of(error: BaseException) -> int:
    """The exit code of a command that an error has ended."""
    if isinstance(error, ConfigurationError):
        return USAGE
    if isinstance(error, DeviceLost):
        return DEVICE_LOST
    if isinstance(error, ServiceUnavailable):
        return UNAVAILABLE
    return FAILURE
