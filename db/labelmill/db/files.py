"""The files of an SQLite database: what to look at where they cannot be used."""

from __future__ import annotations

import sqlite3

_PRIMARY = 0xFF  # of SQLite's extended error codes
_RIGHTS = "; this account has to be able to write the file and its folder"
_SPACE = "; look for room on its disk, and in the system's log"
_ADVICE = {
    sqlite3.SQLITE_READONLY: _RIGHTS,
    sqlite3.SQLITE_CANTOPEN: _RIGHTS,
    sqlite3.SQLITE_PERM: _RIGHTS,
    sqlite3.SQLITE_FULL: _SPACE,
    sqlite3.SQLITE_IOERR: _SPACE,
}


def advice(cause: BaseException | None) -> str:
    """What to add to the message of an error of the driver's; nothing for PostgreSQL's."""
    code = getattr(cause, "sqlite_errorcode", None)
    return "" if code is None else _ADVICE.get(code & _PRIMARY, "")
