"""Rows: what a source yields, readable or not."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias


class Reason(StrEnum):
    """Why a row is not sent: the stable values of ``code`` in the list of rejects."""

    EMPTY = "empty"
    MISSING_COLUMN = "missing_column"
    RAGGED = "ragged"
    UNCLOSED_QUOTE = "unclosed_quote"
    NOT_JSON = "not_json"
    UNDECODABLE = "undecodable"
    NUL = "nul"
    TOO_LARGE = "too_large"
    WRONG_TYPE = "wrong_type"
    UNREADABLE = "unreadable"
    INVALID_ID = "invalid_id"
    DUPLICATE_ID = "duplicate_id"
    UNSTORABLE = "unstorable"


class Row(NamedTuple):
    """One row that could be read.

    ``number`` counts the rows of its source from 1, ``line`` is where it begins in a file of text,
    and ``values`` has what was asked for, in that order.
    """

    number: int
    line: int | None
    values: tuple[Any, ...]


class Reject(NamedTuple):
    """One row that is not sent, or ``rows`` of them that follow each other, and why.

    A source that cannot be read any further ends with one of no rows.
    """

    number: int
    line: int | None
    code: Reason
    message: str
    rows: int = 1


Item: TypeAlias = Row | Reject


class Unusable(Exception):
    """A row's value of which no job can be made; turned into a :class:`Reject`."""

    def __init__(self, code: Reason, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
