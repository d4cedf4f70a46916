"""Files: read whole, within a limit, and only where they are regular files."""

from __future__ import annotations

import os
import stat

from labelmill.core.errors import ErrorCode, JobError

# Not to block on a pipe, nor to take a terminal, nor to follow a link that was put there meanwhile.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC


def read_regular_file(
    path: str | os.PathLike[str], max_bytes: int, *, folder: int | None = None
) -> bytes:
    """The content of a file that is neither a link nor a pipe, a device or a folder.

    Parameters:
        folder: the descriptor of the folder that a relative path starts from.

    Raises:
        JobError: there is no such regular file, or it has more than ``max_bytes``.
        OSError: it cannot be read.
    """
    try:
        descriptor = os.open(path, _FLAGS, dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError):
        raise no_such_file() from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise no_such_file()
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            # A limit far above the size would be allocated; of a file that grows, too much is cut.
            content = file.read(min(status.st_size, max_bytes) + 1)
    finally:
        os.close(descriptor)
    if len(content) > max_bytes:
        raise too_large(max_bytes)
    return content


def no_such_file() -> JobError:
    """The error of a path where no regular file is."""
    return JobError(ErrorCode.IMAGE_NOT_FOUND, "there is no such file to read")


def too_large(max_bytes: int) -> JobError:
    """The error of an image file that has more bytes than are read."""
    return JobError(
        ErrorCode.IMAGE_TOO_LARGE,
        f"an image file is limited to {max_bytes:,} bytes; make it smaller",
    )
