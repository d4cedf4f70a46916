"""A place in a list that is read page by page."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import NamedTuple, Self

from db.tables import Job, Result


class Cursor(NamedTuple):
    """The last row of a page; the next page begins after it.

    Unlike an offset it costs the same on every page, and rows that arrive in the meantime
    neither repeat nor hide any.
    """

    at: datetime
    id: str

    @classmethod
    def of(cls, row: Result | Job) -> Self:
        """The place of a row: when a result finished, when a job was enqueued."""
        return cls(row.finished_at if isinstance(row, Result) else row.enqueued_at, row.id)

    @classmethod
    def parse(cls, token: str) -> Self:
        """The cursor that :meth:`token` wrote.

        Raises:
            ValueError: if it did not.
        """
        try:
            at, _, row_id = (
                base64.b64decode(token, altchars=b"-_", validate=True).decode().partition(" ")
            )
            cursor = cls(datetime.fromisoformat(at), row_id)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"not a page of this list: {token!r}") from error
        if cursor.at.tzinfo is None:
            raise ValueError(f"not a page of this list: {token!r}")
        return cursor

    def token(self) -> str:
        """The cursor as one word that fits into a URL."""
        return base64.urlsafe_b64encode(f"{self.at.isoformat()} {self.id}".encode()).decode()
