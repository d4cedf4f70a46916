"""Secrets: what the bearers of tokens send, of which only hashes are kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum

from labelmill.core.ids import new_id
from labelmill.db.tables import Token

_PREFIX = "lm_"
_BYTES = 32


class Scope(StrEnum):
    """What a token allows; ``admin`` includes the others."""

    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"


def make(name: str, scopes: Iterable[Scope]) -> tuple[str, Token]:
    """A new secret, to be shown once, and what is kept of it."""
    secret = _PREFIX + secrets.token_urlsafe(_BYTES)
    return secret, Token(
        id=new_id(),
        name=name,
        hash=digest_of(secret),
        scopes=" ".join(sorted(set(scopes))),
        created_at=datetime.now(UTC),
        revoked_at=None,
    )


def digest_of(secret: str) -> str:
    """What is kept of a secret; being random, it needs no salt."""
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()
