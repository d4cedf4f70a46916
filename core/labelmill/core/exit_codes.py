"""Exit codes of the commands: what a supervisor and a script may rely on."""

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
