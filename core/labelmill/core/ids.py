"""Ids: how long they may be, and new ones: UUID version 7, so that ids made later sort later."""

from __future__ import annotations

import secrets
import time
import uuid
from typing import Annotated, TypeAlias

MAX_ID_LENGTH = 255
"""Characters in the id of a job or a run, a model's alias or a worker's name.

They are indexed, and an index entry of PostgreSQL holds 2,704 bytes: two of these at four bytes
a character still fit."""

Name: TypeAlias = Annotated[str, MAX_ID_LENGTH]
"""The id of a job or a run, a model's alias or a worker's name, as an indexed column holds it."""


def new_id() -> str:
    """A time-ordered UUID (RFC 9562, section 5.7): 48 bits of Unix milliseconds, 74 random."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76  # version 7
    value = value & ~(0x3 << 62) | 0x2 << 62  # variant 10
    return str(uuid.UUID(int=value))
