"""Tokens: secrets that their bearers show, of which only hashes are kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from db.tables import Token
from db.tokens import Tokens
from producer.gateway.fresh import Fresh
from producer.gateway.threads import Threads
from producer.ids import new_id

_PREFIX = "lm_"
_BYTES = 32
_LONGEST = 128
_FRESH_SECONDS = 5.0  # so long a revoked token may still be good
_REMEMBERED = 1024


class Scope(StrEnum):
    """What a token allows; ``admin`` includes the others."""

    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the bearer of a token, or anybody where none is needed."""

    id: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Whether the scope is among the caller's."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


def make(name: str, scopes: Iterable[Scope]) -> tuple[str, Token]:
    """A new secret, to be shown once, and what is kept of it."""
    secret = _PREFIX + secrets.token_urlsafe(_BYTES)
    return secret, Token(
        id=new_id(),
        name=name,
        hash=_digest(secret),
        scopes=" ".join(sorted(set(scopes))),
        created_at=datetime.now(UTC),
        revoked_at=None,
    )


class Bearers:
    """Knows the bearers of tokens, and asks the database at most every few seconds for each.

    Every method:

    Raises:
        DatabaseUnavailable: the database is away.
    """

    def __init__(self, tokens: Tokens, threads: Threads) -> None:
        self._tokens = tokens
        self._threads = threads
        self._known: OrderedDict[str, tuple[float, Caller | None]] = OrderedDict()
        self._any = Fresh(lambda: threads.run(tokens.exist), _FRESH_SECONDS)

    async def are_there(self) -> bool:
        """Whether there is any token."""
        return await self._any.get()

    async def find(self, secret: str) -> Caller | None:
        """The bearer of that secret, or None."""
        if len(secret) > _LONGEST:
            return None
        digest = _digest(secret)
        known = self._known.get(digest)
        if known is None or known[0] < time.monotonic() - _FRESH_SECONDS:
            known = (time.monotonic(), await self._look_up(digest))
            self._known[digest] = known
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return known[1]

    async def _look_up(self, digest: str) -> Caller | None:
        token = await self._threads.run(self._tokens.find, digest)
        if token is None or not hmac.compare_digest(token.hash, digest):
            return None
        return Caller(token.id, frozenset(map(Scope, token.scopes.split())))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()
