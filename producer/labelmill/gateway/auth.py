"""Authentication: who asks, by the token that came with the request."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from labelmill.db.tokens import Tokens
from labelmill.gateway.cache import Cached
from labelmill.gateway.executors import Executor
from labelmill.gateway.secrets import Scope, digest_of

_LONGEST = 128
_FRESH_SECONDS = 5.0  # so long a revoked token may still be good
_PATIENCE_SECONDS = 1.0
_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the bearer of a token, or anybody where none is needed."""

    id: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Whether the scope is among the caller's."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


class Authenticator:
    """Knows the bearers of tokens, and asks the database at most every few seconds for each.

    Every method:

    Raises:
        DatabaseUnavailable: the database is away.
    """

    def __init__(self, tokens: Tokens, executor: Executor) -> None:
        self._tokens = tokens
        self._executor = executor
        self._known: dict[str, Cached[Caller | None]] = {}
        self._any = Cached(lambda: executor.run(tokens.exist), _FRESH_SECONDS)

    async def has_tokens(self) -> bool:
        """Whether there is any token; as far as is known while the database is away."""
        return await self._any.get_or_last(_PATIENCE_SECONDS)

    def remember(self, secret: str) -> bool:
        """Whether that secret was asked for before, so that it costs nothing to ask again."""
        return digest_of(secret) in self._known

    async def find(self, secret: str) -> Caller | None:
        """The bearer of that secret, or None; the last answer while the database is away."""
        if len(secret) > _LONGEST:
            return None
        digest = digest_of(secret)
        known = self._known.get(digest)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._forget_one()
            known = self._known[digest] = Cached(lambda: self._look_up(digest), _FRESH_SECONDS)
        return await known.get_or_last(_PATIENCE_SECONDS)

    def _forget_one(self) -> None:
        """Forget what nobody bears, if there is any: who guesses must push out no bearer."""
        guesses = (digest for digest, known in self._known.items() if known.last is None)
        del self._known[next(guesses, next(iter(self._known)))]

    async def _look_up(self, digest: str) -> Caller | None:
        token = await self._executor.run(self._tokens.find, digest)
        if token is None or not hmac.compare_digest(token.hash, digest):
            return None
        return Caller(token.id, frozenset(map(Scope, token.scopes.split())))
