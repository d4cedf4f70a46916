"""Moments as people write them on a command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from labelmill.core.errors import ConfigurationError

_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_moment(text: str, now: datetime | None = None) -> datetime:
    """A time in ISO 8601, which is local where it names no zone; or ``90m``, ``24h``, ``7d`` ago.

    Raises:
        ConfigurationError: it is neither.
    """
    if ago := _AGO.fullmatch(text.strip().lower()):
        try:
            return (now or datetime.now(UTC)) - timedelta(**{_UNITS[ago[2]]: float(ago[1])})
        except OverflowError:
            raise ConfigurationError(f"{text!r} is too long ago") from None
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f"{text!r} is no time: write 2026-05-17, 2026-05-17T12:00, or 24h for a day ago"
        ) from None
