"""A place in a list that is read page by page."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import NamedTuple, Self


class PageCursor(NamedTuple):
    """The last row of a page; the next page begins after it.

    Unlike an offset it costs the same on every page, and rows that arrive in the meantime
    neither repeat nor hide any. ``str`` makes one word of it that fits into a URL.
    """

    at: datetime
    """When a result was finished, or a run was created."""
    id: str

    @classmethod
    def parse(cls, token: str) -> Self:
        """The cursor of which ``token`` is the ``str``.

        Raises:
            ValueError: if it is of none.
        """
        try:
            at, _, row_id = (
                base64.b64decode(token, altchars=b"-_", validate=True).decode().partition(" ")
            )
            moment = datetime.fromisoformat(at)
            if moment.tzinfo is None:
                raise ValueError("no zone")
            return cls(moment.astimezone(UTC), row_id)
        except (binascii.Error, ValueError, OverflowError) as error:
            raise ValueError(f"not a page of this list: {token[:80]!r}") from error

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(f"{self.at.isoformat()} {self.id}".encode()).decode()
