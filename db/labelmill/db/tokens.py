"""The tokens of the gateway, as the database keeps them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import insert, select, update

from labelmill.core.text import storable_text
from labelmill.db.errors import once_more
from labelmill.db.repository import Repository, select_record
from labelmill.db.rows import storable_record
from labelmill.db.tables import Token, tokens

_TOKENS = select_record(tokens, Token)


class Tokens(Repository):
    """The table ``tokens``; see :class:`Repository` for what every method raises."""

    def add(self, token: Token) -> None:
        """Keep a new token."""
        with self._one_statement() as connection:
            connection.execute(insert(tokens).values(storable_record(tokens, token)))

    @once_more
    def find(self, digest: str) -> Token | None:
        """The token of that hash that was not revoked, or None."""
        good = _TOKENS.where(tokens.c.hash == digest, tokens.c.revoked_at.is_(None))
        with self._reading() as connection:
            row = connection.execute(good).one_or_none()
        return None if row is None else Token(*row)

    @once_more
    def exist(self) -> bool:
        """Whether there is any token; one that was revoked counts too.

        Otherwise, to revoke the last one would be to let everybody in.
        """
        with self._reading() as connection:
            return connection.scalar(select(tokens.c.id).limit(1)) is not None

    @once_more
    def all(self) -> list[Token]:
        """All tokens, the oldest first, revoked ones too."""
        oldest_first = _TOKENS.order_by(tokens.c.created_at, tokens.c.id)
        with self._reading() as connection:
            return [Token(*row) for row in connection.execute(oldest_first)]

    def revoke(self, token_id: str, at: datetime) -> bool:
        """Let a token be worth nothing; False if there is none of that id that is worth something.

        It stays in the list, so that its id is never given again.
        """
        statement = (
            update(tokens)
            .where(tokens.c.id == storable_text(token_id), tokens.c.revoked_at.is_(None))
            .values(revoked_at=at)
            .returning(tokens.c.id)
        )
        with self._one_statement() as connection:
            return connection.scalar(statement) is not None
