"""The ids of a run's jobs: made of the run and the row, so that the same row has the same id."""

from __future__ import annotations

from labelmill.core.errors import ConfigurationError
from labelmill.core.ids import MAX_ID_LENGTH

_DIGITS = 9

#: Leaves room for a colon and for more rows than anybody has.
MAX_RUN_LENGTH = MAX_ID_LENGTH - 20


def row_id(run: str, number: int) -> str:
    """The id of a run's row; rows sort by it as they stand in the source.

    Parameters:
        number: of the row in the whole run, from 1, those that cannot be read counted too.
    """
    return f"{run}:{number:0{_DIGITS}}"


def row_number(run: str, job_id: str) -> int | None:
    """The row that :func:`row_id` made this id of; None for any other id."""
    number = job_id.removeprefix(f"{run}:")
    if number == job_id or not (number.isascii() and number.isdigit()):
        return None
    return int(number) if row_id(run, int(number)) == job_id else None


def check_run(run: str) -> str:
    """Return the run's id when ids of jobs can be made of it.

    Raises:
        ConfigurationError: it is empty, too long, or has characters that cannot be printed.
    """
    if not 1 <= len(run) <= MAX_RUN_LENGTH or not run.isprintable():
        raise ConfigurationError(
            f"a run's id is 1 to {MAX_RUN_LENGTH} printable characters; choose another --run"
        )
    return run
