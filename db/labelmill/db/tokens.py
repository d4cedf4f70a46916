"""The tokens of the gateway, as the database keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from labelmill.db.database import for_writing
from labelmill.db.errors import translated
from labelmill.db.rows import storable_text
from labelmill.db.tables import Token


class Tokens:
    """The table ``tokens``. Every method:

    Parameters:
        engine: from :func:`labelmill.db.database.create_database_engine`.

    Raises:
        DatabaseUnavailable: if the database cannot be reached; the call can be tried again.
        SchemaOutOfDate: if the database has not been migrated to this version.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = for_writing(engine)

    def add(self, token: Token) -> None:
        """Keep a new token."""
        with self._session(self._writer) as session, session.begin():
            session.add(token)

    def find(self, digest: str) -> Token | None:
        """The token of that hash that was not revoked, or None."""
        query = select(Token).where(Token.hash == digest, Token.revoked_at.is_(None))
        with self._session(self._engine) as session:
            return session.scalars(query).one_or_none()

    def exist(self) -> bool:
        """Whether there is any token; one that was revoked counts too.

        Otherwise, to revoke the last one would be to let everybody in.
        """
        query = select(Token.id).limit(1)
        with self._session(self._engine) as session:
            return session.scalar(query) is not None

    def all(self) -> list[Token]:
        """All tokens, the oldest first, revoked ones too."""
        with self._session(self._engine) as session:
            return list(session.scalars(select(Token).order_by(Token.created_at, Token.id)))

    def revoke(self, token_id: str, at: datetime) -> bool:
        """Let a token be worth nothing; False if there is none of that id that is worth something.

        It stays in the list, so that its id is never given again.
        """
        statement = (
            update(Token)
            .where(Token.id == storable_text(token_id), Token.revoked_at.is_(None))
            .values(revoked_at=at)
            .returning(Token.id)
        )
        with self._session(self._writer) as session, session.begin():
            return session.scalar(statement) is not None

    @contextmanager
    def _session(self, engine: Engine) -> Iterator[Session]:
        with translated(self._engine), Session(engine, expire_on_commit=False) as session:
            yield session
